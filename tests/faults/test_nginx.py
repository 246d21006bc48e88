"""A real nginx in front, with its own default settings and exactly the snippet that `docs/deployment.md` gives."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import flash
from flash import EndReason, Flash, Input, StreamCancelled, Update, html, stream_props
from tests.faults.soak_page import Page
from tests.support.connections import free_port
from tests.support.link import Link
from tests.support.processes import running
from tests.support.serving import Journal, serve

DOCUMENTED = Path(flash.__file__).parents[1] / "docs" / "deployment.md"

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    sendfile on;
    tcp_nopush on;
    gzip on;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        include {folder}/more.conf;
        {snippet}
    }}
}}
"""

Nginx = Callable[..., int]


def documented_snippet() -> str:
    """What the documentation says that nginx needs."""
    snippet, *_ = re.findall(r"```nginx\n(.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    assert "http://127.0.0.1:8000" in snippet
    return snippet


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Starts an nginx in front of the server at a port; further settings are for its `server` block."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert program is not None, "These tests need nginx: apt-get install nginx-light."
    with contextlib.ExitStack() as processes:

        def start(target: int, more: str = "") -> int:
            port = free_port()
            snippet = documented_snippet().replace("127.0.0.1:8000", f"127.0.0.1:{target}")
            configuration = tmp_path / "nginx.conf"
            configuration.write_text(CONFIGURATION.format(folder=tmp_path, port=port, snippet=snippet))
            (tmp_path / "more.conf").write_text(more)
            command = [program, "-p", str(tmp_path), "-e", "stderr", "-c", str(configuration)]
            process = processes.enter_context(running(command, tmp_path))
            process.wait_for(lambda: is_listening(port), "nginx listens")
            return port

        yield start


def is_listening(port: int) -> bool:
    """Whether something listens at a port."""
    entry = f"0100007F:{port:04X} 00000000:0000 0A"
    return entry in Path("/proc/net/tcp").read_text()


class Waiting:
    """An app with a stream that shows the time of its first update, and then what it is told to."""

    def __init__(self, **options: Any) -> None:
        self.app = Flash(__name__, **options)
        self.app.layout = html.Div(id="out")
        self.ended = Journal[EndReason]()

        @self.app.event_callback(
            Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=self._note, timeout=60
        )
        async def tell(n_clicks: int) -> AsyncIterator[Update]:
            for _ in range(3):
                yield stream_props("out", {"children": time.monotonic()})
                await trio.sleep(0.1)
            await trio.sleep(n_clicks)
            yield stream_props("out", {"children": time.monotonic()})
            await trio.sleep_forever()

    def _note(self, error: StreamCancelled) -> None:
        self.ended.note(error.reason)


async def start(page: Page, pause: float = 60) -> tuple[Link, str]:
    """Connect, and start the stream; its name is the second."""
    connection = await page.connect()
    assert connection.status == 200
    await connection.expect("hello")
    (callback,) = await page.dependencies()
    answer = await page.start(callback, {"go.n_clicks": pause})
    assert answer.status in (200, 204), answer
    return connection, (await connection.expect("open"))["stream"]


async def delay_of_next(connection: Link) -> float:
    """Seconds that the next update was on its way."""
    ((_, props),) = (await connection.expect("props"))["props"]
    return time.monotonic() - props["children"]


def test_an_update_passes_at_once(nginx: Nginx) -> None:
    waiting = Waiting()

    async def visit(port: int) -> None:
        page = Page(port)
        connection, _ = await start(page)
        for _ in range(3):
            assert await delay_of_next(connection) < 1
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))


def test_idle_streams_survive_the_read_timeout(nginx: Nginx) -> None:
    """With two seconds for nginx's sixty, and a ping after each second of silence for one after fifteen."""
    waiting = Waiting(ping_interval=1, stall_timeout=60)

    async def visit(port: int) -> None:
        page = Page(port)
        connection, _ = await start(page, pause=5)
        for _ in range(4):
            assert await delay_of_next(connection) < 1
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2]), "proxy_read_timeout 2s;"))


def test_a_stream_without_pings_would_not_survive_it(nginx: Nginx) -> None:
    """What makes the test before this one one."""
    waiting = Waiting(ping_interval=20)

    async def visit(port: int) -> None:
        page = Page(port)
        connection, _ = await start(page)
        for _ in range(3):
            await connection.expect("props")
        assert await connection.rest() == []
        assert connection.is_cut
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2]), "proxy_read_timeout 2s;"))


def test_cancel_works(nginx: Nginx) -> None:
    waiting = Waiting()

    async def visit(port: int) -> None:
        page = Page(port)
        connection, stream = await start(page)
        for _ in range(3):
            await connection.expect("props")
        assert (await page.cancel(stream, 1)).status == 204
        assert (await connection.expect("end"))["reason"] == "cancelled"
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))
        assert waiting.ended.next() == EndReason.CANCELLED


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_page_that_goes_is_noticed(nginx: Nginx, says_goodbye: bool) -> None:
    waiting = Waiting(reconnect_grace=0.5)

    async def visit(port: int) -> None:
        page = Page(port)
        connection, _ = await start(page)
        await connection.expect("props")
        if says_goodbye:
            assert (await page.leave()).status == 204
        else:
            await connection.close()
        assert await trio.to_thread.run_sync(waiting.ended.next) == EndReason.DISCONNECTED
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))
        server.expect_streaming()
    assert waiting.ended.rest() == []
