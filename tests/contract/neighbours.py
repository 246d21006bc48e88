"""A page and a stream beside the stream of a test, which are not to notice what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from flash.cancel_scopes import EndReason
from tests.contract.pretend_page import PretendPage, endless

Callback = Callable[[], object]


class Neighbours:
    """A page beside one that has a stream, and a stream beside it on its page: neither is to notice anything."""

    def __init__(self, page: PretendPage, other: PretendPage) -> None:
        self._pages = (page, other)
        self._streams = [each.start(endless, key="bystander") for each in self._pages]

    def check(self) -> None:
        for page, stream in zip(self._pages, self._streams, strict=True):
            page.read()
            assert stream.state == "running"
            assert not [entry for entry in page.log(stream) if isinstance(entry, tuple)]


async def end_of(page: PretendPage, callback: Callback, **options: Any) -> tuple[str, list[object]]:
    """Start a stream, cancel it after two seconds if it runs on, and return its one end; the next run works."""
    stream = page.start(callback, **options)
    await trio.sleep(2)
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(2)
    page.read()
    ends: list[Any] = [entry for entry in page.log(stream) if isinstance(entry, tuple)]
    assert len(ends) == 1
    assert stream.id not in [info.id for info in page.channels.streams()]
    again = page.start(endless)
    await trio.sleep(2)
    page.read()
    assert len(page.log(again)) > 1
    again.scope.cancel(EndReason.CANCELLED)
    return ends[0]
