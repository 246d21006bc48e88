"""A page that is in step with a source is sent, and can be sent again, what every other page is.

Two outboxes go through the same: one is in step with the source as often as it may be, the other never is.
"""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import example, given, settings, strategies as st

from flash.streams.buffer import Bounds, StreamBuffer
from flash.streams.events import Event, PropUpdate, SharedUpdate
from flash.streams.outbox import Outbox
from flash.streams.shared_updates import SharedUpdates
from flash.streams.states import Lifecycle, Trigger
from flash.wire import PROPS_DATA, props_head

WINDOW = 4_000
PING_AFTER = 1_500
SIZES = st.sampled_from([10, 200, 900])

Frame = tuple[int, bytes]


class PretendLink:
    """The link of a page, and the sender of its events.

    Attributes:
        received: what the page got over it: number and data of each event.
        is_busy: its task does not wait, so that nothing can be sent at once.
        is_full: the socket does not take all of the next write.
        bytes_since_ping: bytes that were sent and counted since the last ping.
        pings: how many were sent.
        directly: how many updates were sent without the outbox.
    """

    def __init__(self, may_be_in_step: bool) -> None:
        self.received: list[Frame] = []
        self.is_busy = False
        self.is_full = False
        self.is_queued = False
        self.bytes_since_ping = 0
        self.pings = 0
        self.directly = 0
        self.sender: Any = self
        self._may_be_in_step = may_be_in_step

    def wake(self) -> None:
        self.is_queued = True

    def room(self) -> int:
        return 0 if self.is_busy or self.is_queued else 65_536

    def send_now(self, events: list[Event]) -> bool:
        for event in events:
            self._send(event.number, event.data)
            self._count(len(event.data))
        return not self.is_full

    def send_update(self, number: int, head: bytes, pairs: bytes) -> bool:
        if not self.room():
            return False
        data = PROPS_DATA % (head, pairs)
        self._send(number, data)
        self._count(len(data))
        if self.is_full:
            self.wake()
        return True

    def bytes_until_ping(self) -> float:
        return PING_AFTER - self.bytes_since_ping if self._may_be_in_step else 0

    def send_uncounted(self, number: int, head: bytes, pairs: bytes) -> bool:
        if not self.room():
            return False
        self._send(number, PROPS_DATA % (head, pairs))
        self.directly += 1
        if self.is_full:
            self.wake()
        return True

    def count(self, updates: int, head: bytes, size: int) -> None:
        self.bytes_since_ping += size + updates * len(PROPS_DATA % (head, b""))
        assert self.bytes_since_ping < PING_AFTER, "a ping is late"

    def take(self, outbox: Outbox) -> None:
        """The link's task has its turn."""
        self.is_full = self.is_queued = False
        for event in outbox.take(65_536):
            self._send(event.number, event.data)
            self._count(len(event.data))
        if outbox.has_more():
            self.wake()

    def _send(self, number: int, data: bytes) -> None:
        assert not self.received or number > self.received[-1][0]
        self.received.append((number, data))

    def _count(self, size: int) -> None:
        self.bytes_since_ping += size
        if self.bytes_since_ping >= PING_AFTER:
            self.bytes_since_ping, self.pings = 0, self.pings + 1


class PretendSource:
    """What makes the updates of a source."""

    def __init__(self) -> None:
        self._latest = SharedUpdate(b"", ())

    def update(self, size: int) -> SharedUpdate:
        """The next update, of about so many bytes."""
        before = self._latest
        self._latest = SharedUpdate(b'["out",{"children":"%d %b"}]' % (before.place, b"x" * size), ())
        self._latest.follow(before)
        return self._latest


class PretendPage:
    """A page with an outbox, a stream that follows a source, and another stream."""

    def __init__(self, may_be_in_step: bool) -> None:
        self.outbox = Outbox(WINDOW)
        self.lifecycle = Lifecycle()
        self.lifecycle.advance(Trigger.OPENED)
        self.follows = StreamBuffer(Bounds(2_000, 20), props_head("follows"))
        self.other = StreamBuffer(Bounds(2_000, 20), props_head("other"))
        self.conflated = StreamBuffer(Bounds(2_000, 20), props_head("conflated"))
        self.firsts = 0
        self.updates = SharedUpdates(self.lifecycle, self.outbox, self.follows, self._note_first, conflates=False)
        self.links = [PretendLink(may_be_in_step)]
        self.outbox.rewind(0, self.links[0])
        self.has = 0
        self._may_be_in_step = may_be_in_step

    def _note_first(self) -> None:
        self.firsts += 1

    @property
    def link(self) -> PretendLink:
        return self.links[-1]

    def update_other(self, size: int) -> None:
        """The other stream has an update."""
        pairs = b'["other",%d]' % size
        if not self.outbox.send_update(pairs, self.other):
            self.outbox.put_update(pairs, self.other)

    def do(self, what: str, size: int, update: SharedUpdate | None) -> object:
        outbox, link = self.outbox, self.link
        match what:
            case "put":
                assert update is not None
                return self.updates.put(update)
            case "other":
                self.update_other(size)
            case "conflated":
                outbox.put_by_prop([PropUpdate("key", True, b'["other",%d]' % size)], self.conflated)
            case "flush":
                outbox.flush(self.follows)
                return self.counted()
            case "close":
                outbox.close()
                return self.counted()
            case "discard":
                outbox.discard()
                return self.counted()
            case "unacknowledged":
                return outbox.unacknowledged
            case "event":
                outbox.put("refused", b"{}")
            case "busy":
                link.is_busy = not link.is_busy
            case "full":
                link.is_full = True
            case "turn":
                link.take(outbox)
            case "acknowledge":
                # The page may be behind what it was sent.
                number = link.received[-1 - size % len(link.received)][0] if link.received else 0
                self.has = max(self.has, number)
                return outbox.acknowledge(self.has)
            case "reconnect":
                self.links.append(PretendLink(self._may_be_in_step))
                assert outbox.rewind(self.has, self.link)
                self.link.wake()
            case "lose":
                outbox.lose_reader()
            case "cancel":
                if self.lifecycle.is_running:
                    self.lifecycle.advance(Trigger.CANCELLED)
                    outbox.drop(self.follows)
            case "count":
                return self.seen()
            case _:
                raise AssertionError(what)
        return None

    def counted(self) -> object:
        buffers = (self.follows, self.other, self.conflated)
        return [(each.sent_updates, each.sent_bytes, each.updates, each.bytes) for each in buffers]

    def seen(self) -> object:
        outbox = self.outbox
        waits = outbox.needs_no_acknowledgement
        return waits, outbox.unacknowledged, outbox.acknowledged, outbox.exhausted, self.firsts, self.counted()

    def received(self) -> object:
        return [(link.received, link.pings) for link in self.links]


RARELY = ["lose", "cancel", "close", "discard"]
OFTEN = [
    *("other", "conflated", "event", "busy", "full", "turn", "acknowledge", "reconnect", "flush", "count"),
    "unacknowledged",
]
STEPS = st.lists(st.tuples(st.integers(0, 6), SIZES, st.sampled_from(OFTEN * 3 + RARELY), SIZES), max_size=20)


@settings(max_examples=300, deadline=None)
@given(STEPS)
@example([(6, 10, what, 10) for what in OFTEN])
@example([(30, 10, "acknowledge", 30), (6, 10, "cancel", 10), (6, 10, "other", 10)])
@example([(6, 10, "lose", 10), (6, 10, "reconnect", 10), (6, 10, "turn", 10)])
@example([(6, 10, "close", 10), (6, 10, "turn", 10)])
@example([(6, 10, "discard", 10), (6, 10, "turn", 10)])
@example([(30, 200, "count", 10)])
def test_a_page_in_step_is_sent_what_every_other_page_is(steps: list[tuple[int, int, str, int]]) -> None:
    async def run() -> None:
        in_step, not_in_step = PretendPage(True), PretendPage(False)
        source = PretendSource()

        def do(what: str, size: int) -> None:
            update = source.update(size) if what == "put" else None
            assert in_step.do(what, size, update) == not_in_step.do(what, size, update)
            assert in_step.received() == not_in_step.received()

        for puts, size, what, size_of_other in steps:
            for _ in range(puts):
                do("put", size)
            do(what, size_of_other)
        # All that the page does not have can be sent again.
        for what in ("count", "reconnect", "turn"):
            do(what, 0)
        assert in_step.outbox.in_step is not_in_step.outbox.in_step is None

    trio.run(run)


async def test_the_updates_of_a_page_in_step_go_past_its_outbox_until_something_else_happens() -> None:
    page, source = PretendPage(True), PretendSource()

    def put(updates: int) -> int:
        """Put so many, and say how many of them went past the outbox."""
        before = page.link.directly
        for _ in range(updates):
            assert page.updates.put(source.update(1))
        return page.link.directly - before

    # The first two show that nothing comes between.
    assert put(4) == 2
    page.outbox.put("refused", b"{}")
    assert put(4) == 2
    assert page.outbox.acknowledge(9)
    assert put(4) == 3
    for _ in range(4):
        page.update_other(1)
        assert put(1) == 0
    assert [number for number, _ in page.link.received] == list(range(1, 22))
