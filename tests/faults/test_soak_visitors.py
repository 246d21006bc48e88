"""The pages of the soak, by themselves: one that is wrong about what it has had would find fault with the server."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import trio
import trio.testing

from flash.testing.component_ids import ComponentId
from tests.faults.soak_page import Page
from tests.faults.soak_visitors import Load, Visitor
from tests.faults.soak_workers_visitors import WorkersLoad, WorkersPage, WorkersVisitor
from tests.support.http1 import Answer
from tests.support.link import Link
from tests.support.page import AnyPage
from tests.support.wire_client import Post

HELLO = b'id: life.0\nevent: hello\ndata: {"page":"","life":"life","ping":1,"reconnect_grace":1}\n\n'
LATE = {"type": "walk", "index": 2}
LAST_WORDS = [["out", {"children": "last words"}], ["out", {"children": "reset"}]]
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


class _PageThatIsTold(WorkersPage):
    """What comes over its link is what the test says."""

    def __init__(self) -> None:
        super().__init__(0, [])
        self._tell, self._told = trio.open_memory_channel[bytes](100)
        self._numbers = itertools.count(1)
        self._ends = trio.socket.socketpair()

    async def connect(self, *others: AnyPage[Any], **options: Any) -> Link:
        self._tell.send_nowait(HELLO)
        return Link(200, {}, self._told.receive, stream=trio.SocketStream(self._ends[0]))

    async def close(self) -> None:
        for end in self._ends:
            end.close()

    def say_open(self, component_id: ComponentId) -> str:
        """Open a stream of the callback that this component starts; returns its id."""
        kind, match = (component_id, None) if isinstance(component_id, str) else ("walk", json.dumps(component_id))
        stream = f"life-{next(self._numbers)}"
        self._say("open", stream=stream, callback_id=f"_flash-app-{kind}", match=match)
        return stream

    def say_end(self, stream: str, reason: str) -> None:
        self._say("end", stream=stream, reason=reason, props=[] if reason == "completed" else LAST_WORDS)

    def say_ping(self) -> None:
        self._tell.send_nowait(b'event: ping\ndata: {"lives":["life"]}\n\n')

    def _say(self, name: str, **data: Any) -> None:
        self._tell.send_nowait(f"id: life.{next(self._numbers)}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())


class _PageOfALateStart(_PageThatIsTold):
    """Its first start gets no answer, and is carried out behind the next starts; the stream ends by being superseded.

    Attributes:
        has_started: the first start was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_started = trio.Event()
        self._late = ""

    async def start(
        self, component_id: ComponentId = "go", prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> Answer:
        if not self.has_started.is_set():
            self.has_started.set()
            await trio.sleep_forever()
        if component_id == LATE and self._late:
            self.say_end(self._late, "superseded")
        self.say_end(self.say_open(component_id), "completed")
        if component_id == "rogue":
            self._late = self.say_open(LATE)
            self.say_ping()
        return Answer(204, {}, b"")

    async def send(self, post: Post) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(204, {}, b"")


class _GivesUpAStart(WorkersVisitor):
    def __init__(self, load: WorkersLoad, page: _PageOfALateStart) -> None:
        super().__init__(load, random.Random(1), page)
        self._page_of_late_start = page

    async def visit(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_start, "walk", self._load.plan(self._random), 2)
            await self._page_of_late_start.has_started.wait()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            await self._wait_for_the_ends(nursery)
            await self._disconnect()
        await self._page.close()


async def _give_up_a_start() -> list[str]:
    load = WorkersLoad(0, {}, 0, random.Random(1))
    await _GivesUpAStart(load, _PageOfALateStart()).visit()
    return load.violations


def test_a_start_that_was_given_up_may_be_carried_out_behind_those_that_follow() -> None:
    assert trio.run(_give_up_a_start) == []


class _PageOfNoAnswers(_PageThatIsTold):
    async def send(self, post: Post) -> Answer:
        await trio.sleep_forever()
        raise AssertionError("it does not wake up")


class _ReadsOn(WorkersVisitor):
    def __init__(self, load: WorkersLoad, page: _PageOfNoAnswers) -> None:
        super().__init__(load, random.Random(1), page)
        self._page_of_no_answers = page

    async def visit(self) -> None:
        page = self._page_of_no_answers
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            stream = page.say_open(LATE)
            for _ in range(10):
                page.say_ping()
            page.say_end(stream, "completed")
            await trio.testing.wait_all_tasks_blocked()
            assert stream in self._past
            await self._disconnect()
        await page.close()


async def _read_on() -> list[str]:
    load = WorkersLoad(0, {}, 0, random.Random(1))
    await _ReadsOn(load, _PageOfNoAnswers()).visit()
    return load.violations


def test_a_page_reads_on_while_its_acknowledgements_are_not_answered() -> None:
    assert trio.run(_read_on) == []
