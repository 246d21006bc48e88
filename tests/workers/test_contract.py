"""The contract of a stream holds whichever worker a request comes to: the tests of one server, through other workers.

Each test of the modules in `MODULES` runs here as it is, but for its `serve`. The app is that of a worker which holds
the browsers of all pages, and everything that needs a holder, links, starts, cancels and closes, comes to two other
workers in turn. These have an app without any callback, so that nothing is answered there.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from flash import Flash
from flash.wire import START_HEADER
from flash.workers.directory import Claims, browser_key
from tests.http import (
    test_cancel,
    test_disconnect,
    test_end_streams,
    test_overlap,
    test_start,
    test_streaming_callbacks,
    test_watched,
)
from tests.http.pages import Page
from tests.http.servers import Serve, Server
from tests.support.connections import open_connection
from tests.support.http1 import Http1
from tests.support.wire_client import Post
from tests.workers.conftest import Worker
from tests.workers.machines import LoopbackMachine

MODULES = (
    test_cancel,
    test_disconnect,
    test_end_streams,
    test_overlap,
    test_start,
    test_streaming_callbacks,
    test_watched,
)
"""Where the tests are from."""

OMITTED = {
    # They count the tasks of one server.
    test_cancel.test_five_hundred_runs_leave_no_task_behind,
    test_disconnect.test_a_response_that_breaks_off_before_another_request_leaves_no_task,
    test_disconnect.test_bytes_after_the_request_do_not_hide_that_the_page_has_gone,
    test_disconnect.test_half_a_request_leaves_nothing_behind,
    test_disconnect.test_pages_that_come_and_go_leave_nothing_behind,
    # They have many cases of what is the same however a request has come.
    test_cancel.test_the_server_decides_whether_a_value_meets_a_condition,
    test_streaming_callbacks.test_values_have_the_shape_of_the_outputs,
}


def contract() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The tests, with their names."""
    for module in MODULES:
        for name, test in vars(module).items():
            if name.startswith("test_") and test not in OMITTED:
                yield name, test


for _name, _test in contract():
    assert _name not in globals(), f"there are two tests {_name}"
    globals()[_name] = _test


class PageElsewhere(Page):
    """A page whose links and messages come to other workers than the one that holds its browser, to each in turn."""

    def __init__(self, holder: Worker, ports: Iterator[int], client: httpx.AsyncClient, port: int, prefix: str) -> None:
        super().__init__(client, port, prefix)
        self._holder = holder
        self._ports = ports

    async def load(self, path: str = "") -> None:
        await super().load(path)
        # For good: it is never released.
        await self._holder.peers.holdings.claim(browser_key(self.cookie))

    async def send(self, post: Post) -> httpx.Response:
        if "/_flash/" not in post.target and START_HEADER not in dict(post.headers):
            return await super().send(post)
        return await super().send(post._replace(target=f"http://127.0.0.1:{next(self._ports)}{post.target}"))

    async def open(self, receive_buffer: int | None = None) -> Http1:
        return Http1(await open_connection(next(self._ports), receive_buffer))


@pytest.fixture(params=[1, 3], ids=["one machine", "three machines"])
async def serve(serve: Serve, request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Starts servers of three workers each, which are on one machine, or each on a machine of its own."""
    size, numbers = 3, itertools.count(1)
    machines = [LoopbackMachine(number + 1) for number in range(size)] if request.param > 1 else [None] * size
    async with trio.open_nursery() as nursery:
        for machine in machines:
            if machine is not None:
                nursery.start_soon(machine.run)
        with tempfile.TemporaryDirectory(prefix="flash-") as folder:

            async def start(app: Flash, **options: Any) -> Server:
                claims = Claims()
                apps = [app, Flash(__name__), Flash(__name__)]
                for other in apps[1:]:
                    other.layout = []
                workers: list[Worker] = []
                for each, machine in zip(apps, machines, strict=True):
                    number = next(numbers)
                    path = Path(folder) / f"{number:012}.sock"
                    workers.append(Worker(str(number), each, claims, str(path), machine))
                    await nursery.start(workers[-1].run, serve, options)
                holder, *others = workers
                ports = itertools.cycle([other.server.port for other in others])
                holder.server.make_page = partial(PageElsewhere, holder, ports)
                return holder.server

            yield start
        nursery.cancel_scope.cancel()
