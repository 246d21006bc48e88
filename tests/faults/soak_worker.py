"""What a worker of the soak serves: its app, and routes that tell what the process is, holds, and has found wrong."""

from __future__ import annotations

import gc
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from types import CoroutineType, FrameType
from typing import Any

import trio
from quart import Response, request

from flash import Update, ctx
from flash.asgi.browser_cookie import COOKIE
from tests.faults.soak import Lines, counts
from tests.faults.soak_app import WORKER, Ledger, make_app
from tests.faults.soak_footprint import Footprint, tasks
from tests.faults.soak_timeline import name_of, name_of_run, note_in_worker


class NotingLedger(Ledger):
    """A ledger whose entries stand in the timelines, too."""

    def note(self, page_of_ledger: Counter[int], run: int) -> None:
        super().note(page_of_ledger, run)
        entry = next(name for name, page in vars(self).items() if page is page_of_ledger)
        note_in_worker(name_of_run(run), f"run {run}: {entry}")

    def handle(self, error: BaseException) -> Update:
        run = ctx.states["plan.data"]["run"]
        note_in_worker(name_of_run(run), f"run {run}: handled {error!r}")
        return super().handle(error)


ledger, lines = NotingLedger(), Lines()
app = make_app(ledger)

_log = logging.getLogger("flash.streams")
_log.addHandler(lines)
_log.setLevel(logging.INFO)
_log.propagate = False


@app.server.after_request
async def name_worker(response: Response) -> Response:
    """Say who holds the page: the hooks of a request that is sent on run there."""
    response.headers[WORKER] = str(os.getpid())
    if (browser := request.cookies.get(COOKIE)) is not None:
        note_in_worker(name_of(browser), f"answers {request.method} {request.full_path} with {response.status_code}")
    return response


@app.server.route("/pid")
async def pid() -> str:
    """Which worker a connection has come to."""
    return str(os.getpid())


@app.server.route("/footprint")
async def footprint() -> dict[str, Any]:
    """What the process holds."""
    peers = app.all_workers.peers
    assert peers is not None
    return {
        "footprint": asdict(Footprint.measure(app)),
        "browsers": len(peers.holdings),
        "tasks": [describe(task) for task in tasks()],
    }


def describe(task: trio.lowlevel.Task) -> str:
    """What a task is, and the lines at which it waits."""
    return f"{task.name}: {' > '.join(_lines_of(task.coro))}"


def _lines_of(awaited: Any) -> Iterator[str]:
    while awaited is not None:
        frame: FrameType | None = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_name}:{frame.f_lineno}"
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
        else:
            # What an `__await__` has made of a coroutine says only to the garbage collector what it is.
            awaited = next((each for each in gc.get_referents(awaited) if isinstance(each, CoroutineType)), None)


@app.server.route("/verdict")
async def verdict() -> dict[str, Any]:
    """What came of the streams that have run here."""
    assert app.metrics is not None
    opened, ended = counts(app.metrics.expose().decode())
    violations = ledger.violations(ended, lines.reasons)
    # A page whose worker is killed may have started a stream, and need long to come back.
    violations += [f"the log says: {line}" for line in lines.others if "within start_timeout" not in line]
    if opened != ended.total():
        violations.append(f"{opened} streams opened, and {ended.total()} ended")
    if ended["shutdown"]:
        violations.append(f"{ended['shutdown']} streams ended with `shutdown`, and nobody has stopped the server")
    return {"ended": ended, "violations": violations}
