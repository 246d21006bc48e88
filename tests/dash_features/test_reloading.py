"""`app.run(debug=True)`: a program starts again when its code changes, and pages learn of that and of their assets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import watchfiles

from flash.server.reloading import CodeFilter
from tests.http.pages import new_client
from tests.support.eventually import TIMEOUT, eventually

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
        output: what it has written so far.
        said_syntax_error: is set when that has a SyntaxError in it.
    """

    def __init__(self, process: trio.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.output = ""
        self.said_syntax_error = trio.Event()
        self._client = client

    async def read_output(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()
            if "SyntaxError" in self.output:
                self.said_syntax_error.set()

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

        await eventually(is_answered, lambda: f"{path} is {answer!r}; the program says {self.output}")
        return answer


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[Program]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = Path(__file__).parents[2]
    async with trio.open_nursery() as nursery, new_client(port) as client:
        process = await trio.lowlevel.open_process(
            [sys.executable, "program.py", str(port)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        program = Program(process, client)
        nursery.start_soon(program.read_output)
        try:
            yield program
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()


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
        reloaded = (await program.ask("/_reload-hash"))["reloadHash"]
        assert reloaded not in (before, changed["reloadHash"])
        assert program.output.count("Dash is running on") == 1

        # A mistake ends the server, not the watch.
        (tmp_path / "parts.py").write_text("text = (")
        with trio.fail_after(TIMEOUT):
            await program.said_syntax_error.wait()
        (tmp_path / "parts.py").write_text("text = 'third'")
        await program.until("/_dash-layout", lambda layout: layout["props"]["children"] == "third")

        program.process.send_signal(signal.SIGTERM)
        with trio.fail_after(TIMEOUT):
            assert await program.process.wait() == 0
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
