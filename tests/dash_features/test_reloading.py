"""`app.run(debug=True)`: a program starts again when its code changes, and pages learn of that and of their assets."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import watchfiles

from flash import Flash
from flash.asgi.tokens import new_token
from flash.server.reloading import CodeFilter
from tests.http.pages import new_client
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.processes import Process, python

SCRIPT = """
import sys
from flash import Flash, html
from parts import text

app = Flash(__name__)
app.layout = html.P(text)

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), debug=True, dev_tools_hot_reload_watch_interval=0.05)
"""


class Program:
    """A program that runs in a process of its own.

    Attributes:
        process: the process.
    """

    def __init__(self, process: Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self._client = client

    async def ask(self, path: str) -> Any:
        """What it answers, or None if it does not."""
        with contextlib.suppress(httpx.TransportError):
            return (await self._client.get(path)).json()
        return None

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """What it answers when the condition holds of that."""
        answer: Any = None

        async def is_answered() -> bool:
            nonlocal answer
            answer = await self.ask(path)
            return answer is not None and condition(answer)

        await eventually(is_answered, lambda: f"{path} is {answer!r}; the program says {self.process.output}")
        return answer


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[Program]:
    port = free_port()
    with python(folder, "program.py", str(port)) as process:
        async with new_client(port) as client:
            yield Program(process, client)


async def test_a_program_starts_again_when_its_code_changes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    (tmp_path / "parts.py").write_text("text = 'first'")
    (tmp_path / "assets").mkdir()
    style = tmp_path / "assets" / "style.css"
    style.write_text("p { color: red }")
    async with running(tmp_path) as program:
        await program.until("/_dash-layout", lambda layout: layout["props"]["children"] == "first")
        before = (await program.ask("/_reload-hash"))["reloadHash"]

        def style_changed(answer: Any) -> bool:
            if answer["reloadHash"] == before:
                # Dash sees what changes after its first look, which may take it long.
                style.touch()
            return bool(answer["files"])

        changed = await program.until("/_reload-hash", style_changed)
        # The page takes this to the new style, without loading itself again.
        assert {(file["url"], file["is_css"]) for file in changed["files"]} == {("/assets/style.css", True)}

        (tmp_path / "parts.py").write_text("text = 'second'")
        await program.until("/_dash-layout", lambda layout: layout["props"]["children"] == "second")
        # The page, which polls this, reloads.
        for _ in range(2):
            # Each page that asks loads the whole document: the layout alone would have another token than its link.
            reloaded = await program.ask("/_reload-hash")
            assert reloaded["reloadHash"] not in (before, changed["reloadHash"])
            assert (reloaded["hard"], reloaded["files"]) == (True, [])
        assert program.process.output.count("Dash is running on") == 1

        # A mistake ends the server, not the watch.
        (tmp_path / "parts.py").write_text("text = (")
        await eventually(lambda: "SyntaxError" in program.process.output)
        (tmp_path / "parts.py").write_text("text = 'third'")
        await program.until("/_dash-layout", lambda layout: layout["props"]["children"] == "third")

        program.process.send(signal.SIGTERM)
        assert await program.process.status() == 0
        assert await program.ask("/_dash-layout") is None


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/app/page.py", True),
        ("/app/names.txt", True),
        ("/app/other.txt", False),
        ("/app/generated/page.py", False),
        ("/app/__pycache__/page.py", False),
        ("/app/.venv/lib/page.py", False),
    ],
)
def test_what_counts_as_code(path: str, counts: bool) -> None:
    code = CodeFilter(["/app/names.txt"], ["*/generated/*"])
    assert code(watchfiles.Change.modified, path) is counts


def test_processes_that_have_a_seed_in_common_agree_on_the_hash_whatever_the_order_of_changes() -> None:
    apps = [Flash(__name__), Flash(__name__)]
    hashes = [cast("Any", app)._hot_reload for app in apps]
    for app, reload in zip(apps, hashes, strict=True):
        app.share_reload_hash("of a server without hot reloading")
        assert reload.hash is None
        # As the dev tools make it: at random.
        reload.hash = new_token()
        app.share_reload_hash("seed")
    assert hashes[0].hash == hashes[1].hash
    before = hashes[0].hash
    changes = [("a.css", 1.0, False), ("b.css", 2.0, False), ("c.css", -1, True)]
    for app, order in zip(apps, (changes, changes[::-1]), strict=True):
        for change in order:
            cast("Any", app)._on_assets_change(*change)
    assert hashes[0].hash == hashes[1].hash != before
