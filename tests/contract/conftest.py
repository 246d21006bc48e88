"""Fixtures: pages without HTTP or Dash."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash.channels import Channels
from flash.shared.sources import Sources
from flash.streams.buffer import Bounds
from flash.streams.limits import Limits, PageLimits
from flash.streams.thread import StreamThreads
from tests.contract.neighbours import Neighbours
from tests.contract.pretend_app import served_app
from tests.contract.pretend_page import BROWSER, CLEANUP_TIMEOUT, PAGE, OpenPage, PretendPage, connect, on_mock_clock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that say `clock = on_mock_clock` run their tests that way."""
    for item in items:
        run = getattr(getattr(item, "module", None), "clock", None)
        if run is on_mock_clock and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.trio(run=run), append=False)


@pytest.fixture
async def open_page(nursery: trio.Nursery) -> AsyncIterator[OpenPage]:
    """Opens a page on channels of its own; closes them all at the end and checks that nothing is left."""
    opened: list[PretendPage] = []

    async def open_one(
        updates: int = 3,
        size: int = 1_000,
        cleanup_timeout: float = CLEANUP_TIMEOUT,
        threads: int = 20,
        **page_limits: Any,
    ) -> PretendPage:
        limits = Limits(Bounds(bytes=size, updates=updates), cleanup_timeout, StreamThreads(threads))
        page_limits.setdefault("reconnect_grace", 0)
        channels = Channels(limits, PageLimits(**page_limits))
        page = PretendPage(channels, await connect(channels, nursery, PAGE, BROWSER))
        opened.append(page)
        return page

    yield open_one
    with trio.CancelScope(shield=True):
        for page in opened:
            await page.channels.shut_down()
            assert page.channels.streams() == []
            assert len(page.channels) == 0


@pytest.fixture
async def page(open_page: OpenPage) -> PretendPage:
    """A page whose streams buffer three updates."""
    return await open_page()


@pytest.fixture
async def neighbours(page: PretendPage, nursery: trio.Nursery) -> Neighbours:
    """Streams beside those of a test: one on its `page`, and one on another page."""
    other = PretendPage(page.channels, await connect(page.channels, nursery, "other", BROWSER))
    return Neighbours(page, other)


@pytest.fixture
async def app() -> AsyncIterator[Sources]:
    """An app that is served, in which feeds run."""
    async with served_app() as sources:
        yield sources
