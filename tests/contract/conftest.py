"""Fixtures: pages without HTTP or Dash."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash.channels import Channels
from flash.streams.buffer import Bounds
from flash.streams.limits import Limits, PageLimits
from flash.streams.thread import StreamThreads
from tests.contract.desk import BROWSER, CLEANUP_TIMEOUT, PAGE, Desk, OpenDesk, connect, on_mock_clock
from tests.contract.neighbours import Neighbours


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that say `clock = on_mock_clock` run their tests that way."""
    for item in items:
        run = getattr(getattr(item, "module", None), "clock", None)
        if run is on_mock_clock and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.trio(run=run), append=False)


@pytest.fixture
async def open_desk(nursery: trio.Nursery) -> AsyncIterator[OpenDesk]:
    """Opens a page on channels of its own; closes them all at the end and checks that nothing is left."""
    opened: list[Desk] = []

    async def open_one(
        updates: int = 3,
        size: int = 1_000,
        cleanup_timeout: float = CLEANUP_TIMEOUT,
        threads: int = 20,
        **page_limits: Any,
    ) -> Desk:
        limits = Limits(Bounds(bytes=size, updates=updates), cleanup_timeout, StreamThreads(threads))
        page_limits.setdefault("reconnect_grace", 0)
        channels = Channels(limits, PageLimits(**page_limits))
        desk = Desk(channels, await connect(channels, nursery, PAGE, BROWSER))
        opened.append(desk)
        return desk

    yield open_one
    with trio.CancelScope(shield=True):
        for desk in opened:
            await desk.channels.shut_down()
            assert desk.channels.streams() == []
            assert len(desk.channels) == 0


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    """A page whose streams buffer three updates."""
    return await open_desk()


@pytest.fixture
async def neighbours(desk: Desk, nursery: trio.Nursery) -> Neighbours:
    """Streams beside those of `desk`: one on its page, and one on another."""
    other = Desk(desk.channels, await connect(desk.channels, nursery, "other", BROWSER))
    return Neighbours(desk, other)
