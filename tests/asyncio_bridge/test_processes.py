"""A server in a process of its own: what asyncio runs ends with it, in order."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.http.served import page_with_stream, served

SCRIPT = Path(__file__).parent / "asyncio_app.py"
HYPERCORN = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "--graceful-timeout", "1", "asyncio_app:app")


@pytest.mark.parametrize(
    ("command", "log"),
    [
        ((str(SCRIPT), "0"), ["finally", "background ended", "returned"]),
        (HYPERCORN, ["finally", "background ended"]),
    ],
    ids=["app.run", "hypercorn"],
)
async def test_ctrl_c_ends_streams_then_tasks_then_the_server(
    tmp_path: Path, command: tuple[str, ...], log: list[str]
) -> None:
    async with served(tmp_path, *command, modules=SCRIPT.parent) as server, page_with_stream(server.port):
        server.send(signal.SIGINT)
        assert await server.status() == 0
        assert server.log == log
        assert "Traceback" not in server.output
