"""The log of what a page was sent: whatever is folded in it, what is sent again is what was sent."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from flash.streams.buffer import Bounds, StreamBuffer
from flash.streams.events import ConflatedEvent, Event, PropUpdate
from flash.streams.sent_log import FOLDED, SentLog


def update(number: int) -> bytes:
    return b'["out",{"children":%d}]' % number


def filled(count: int) -> SentLog:
    log = SentLog()
    for number in range(1, count + 1):
        log.append_body(number, update(number), b"head %d," % (number % 3), len(update(number)))
    return log


def resend(log: SentLog) -> list[tuple[int, bytes]]:
    """All that is to be sent again."""
    sent: list[tuple[int, bytes]] = []
    while (event := log.next_resend()) is not None:
        sent.append((event.number, event.data))
        log.resent()
    return sent


@pytest.mark.parametrize("count", [1, FOLDED, FOLDED + 1, FOLDED + 2, 5 * FOLDED])
def test_a_new_link_gets_what_was_not_acknowledged(count: int) -> None:
    log = filled(count)
    log.forget(count // 2)
    log.rewind()
    assert log.unacknowledged == 0
    assert resend(log) == [
        (number, b"head %d,%b]}" % (number % 3, update(number))) for number in range(count // 2 + 1, count + 1)
    ]
    assert log.unacknowledged == sum(len(update(number)) for number in range(count // 2 + 1, count + 1))


def test_events_without_updates_and_numbers_that_were_dropped_are_folded_with_the_others() -> None:
    log, opened = filled(2), Event(3, "open", b'{"stream":"a-1"}', None)
    log.append(opened)
    # 4 and 5 were dropped.
    for number in range(6, 6 + 3 * FOLDED):
        log.append_body(number, update(number), b"", len(update(number)))
    log.rewind()
    sent = resend(log)
    assert [number for number, _ in sent] == [1, 2, 3, *range(6, 6 + 3 * FOLDED)]
    assert sent[2] == (3, opened.data)


def test_the_updates_of_a_source_are_not_copied_for_each_page() -> None:
    updates = [b'["out",{"children":"%d%b"}]' % (number, bytes(2_000)) for number in range(6 * FOLDED)]
    logs = [SentLog() for _ in range(20)]
    tracemalloc.start()
    try:
        for log in logs:
            for number, pairs in enumerate(updates, 1):
                log.append_body(number, pairs, b"", len(pairs))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < sum(map(len, updates))
    for log in logs:
        log.rewind()
        assert [pairs for _, pairs in resend(log)] == [b"%b]}" % pairs for pairs in updates]


def test_of_a_stream_that_conflates_the_event_itself_is_given_back() -> None:
    log = SentLog()
    event = ConflatedEvent(StreamBuffer(Bounds()))
    event.number = 1
    event.put(PropUpdate("out", True, update(1)))
    log.append(event)
    for number in range(2, 3 * FOLDED):
        log.append_body(number, update(number), b"", len(update(number)))
    assert log.forget(FOLDED) == [event]


@pytest.mark.parametrize("seed", range(20))
def test_in_any_order_it_keeps_what_was_sent(seed: int) -> None:
    choose, log, number = random.Random(seed), SentLog(), 0
    kept: dict[int, bytes] = {}
    for _ in range(400):
        move = choose.random()
        if move < 0.9:
            number += 1 if move < 0.85 else 2
            kept[number] = b"%b]}" % update(number)
            log.append_body(number, update(number), b"", len(update(number)))
        elif move < 0.97:
            acknowledged = choose.randint(max(0, number - 60), number)
            log.forget(acknowledged)
            kept = {each: data for each, data in kept.items() if each > acknowledged}
        else:
            log.rewind()
            assert dict(resend(log)) == kept
        assert log.unacknowledged == sum(len(data) - 2 for data in kept.values())
