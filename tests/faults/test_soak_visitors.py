"""The pages of the soak, by themselves: one that is wrong about what it has had would find fault with the server."""

from __future__ import annotations

import random
from typing import Any

import trio

from tests.faults.soak_page import Page
from tests.faults.soak_visitors import Load, Visitor
from tests.support.link import Link
from tests.support.page import AnyPage

HELLO = b'id: life.0\nevent: hello\ndata: {"page":"","life":"life","ping":1,"reconnect_grace":1}\n\n'
OPEN = b'id: life.1\nevent: open\ndata: {"stream":"life-1"}\n\n'


class _PageOfOneLink(Page):
    """Its link says hello, and gives an event to whoever reads on when the test has it come.

    Attributes:
        is_reading: the event is being read: it comes even if the reader is cancelled meanwhile.
        event_comes: to be set by the test.
    """

    def __init__(self) -> None:
        super().__init__(0, [])
        self.is_reading, self.event_comes = trio.Event(), trio.Event()
        self._ends = trio.socket.socketpair()

    async def connect(self, *others: AnyPage[Any], **options: Any) -> Link:
        said = [HELLO]

        async def read() -> bytes:
            if said:
                return said.pop()
            self.is_reading.set()
            with trio.CancelScope(shield=True):
                await self.event_comes.wait()
            return OPEN

        return Link(200, {}, read, stream=trio.SocketStream(self._ends[0]))

    async def close(self) -> None:
        for end in self._ends:
            end.close()


class _LeavesWhileItReads(Visitor):
    def __init__(self, load: Load, page: _PageOfOneLink) -> None:
        super().__init__(load, random.Random(1), page)
        self._one_link = page

    async def visit(self) -> None:
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            await self._one_link.is_reading.wait()
            await self._disconnect()
            self._one_link.event_comes.set()
        await self._page.close()
        # The next link would begin behind it.
        assert self._applied == ""
        assert self._running == {}


async def _leave_while_an_event_is_read() -> list[str]:
    load = Load(0, {}, 0, random.Random(1))
    await _LeavesWhileItReads(load, _PageOfOneLink()).visit()
    return load.violations


def test_a_page_that_has_left_its_link_does_not_apply_the_event_that_was_being_read() -> None:
    assert trio.run(_leave_while_an_event_is_read) == []
