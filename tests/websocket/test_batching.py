"""How messages are put into frames, and when these go; on a clock of the test's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from flash.websockets.batching import FRAME_BYTES, SendQueue

BOUND = 1_000_000

Send = tuple[float, list[int]]


async def collect(queue: SendQueue, feed: Callable[[], Awaitable[None]]) -> list[Send]:
    """What `queue` sends, and when, in milliseconds, while `feed` runs."""
    sent: list[Send] = []
    began = trio.current_time()

    async def send() -> None:
        while (frame := await queue.next_frame()) is not None:
            content = json.loads(frame)
            sent.append(
                (round(1000 * (trio.current_time() - began)), content if isinstance(content, list) else [content])
            )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await feed()
        queue.close()
    return sent


async def test_the_first_goes_at_once_and_the_window_is_fixed(autojump_clock: MockClock) -> None:
    queue = SendQueue(BOUND, 0.005)

    async def feed() -> None:
        queue.put("0", urgent=False)
        await trio.sleep(0.0005)
        for number in range(1, 12):
            queue.put(str(number), urgent=False)
            await trio.sleep(0.001)
        await trio.sleep(1)
        queue.put("12", urgent=False)
        await trio.sleep(1)

    assert await collect(queue, feed) == [
        (0, [0]),
        (5, [1, 2, 3, 4, 5]),
        (10, [6, 7, 8, 9, 10]),
        (15, [11]),
        (1012, [12]),
    ]


async def test_an_answer_goes_at_once_with_what_waits_before_it_and_ends_its_frame(autojump_clock: MockClock) -> None:
    queue = SendQueue(BOUND, 10)

    async def feed() -> None:
        queue.put("0", urgent=False)
        await trio.sleep(1)
        queue.put("1", urgent=False)
        await trio.sleep(1)
        queue.put("2")
        queue.put("3", urgent=False)
        await trio.sleep(1)

    assert await collect(queue, feed) == [(0, [0]), (2000, [1, 2]), (3000, [3])]


async def test_answers_that_wait_together_share_a_frame_and_no_update_comes_in_between() -> None:
    queue = SendQueue(BOUND, 10)
    for text, urgent in (("0", False), ("1", True), ("2", True), ("3", False), ("4", True), ("5", False)):
        queue.put(text, urgent=urgent)
    assert [json.loads(str(await queue.next_frame())) for _ in range(2)] == [[0, 1, 2], [3, 4]]


async def test_without_a_delay_every_message_has_a_frame_of_its_own() -> None:
    queue = SendQueue(BOUND, 0)
    for number in range(3):
        queue.put(str(number), urgent=False)
    assert [await queue.next_frame() for _ in range(3)] == ["0", "1", "2"]


async def test_a_frame_has_an_end() -> None:
    queue = SendQueue(BOUND, 0.005)
    half = "1" * (FRAME_BYTES // 2)
    for _ in range(5):
        queue.put(half, urgent=False)
    assert [str(await queue.next_frame()).count(half) for _ in range(3)] == [2, 2, 1]


async def test_heartbeats_that_wait_are_answered_once() -> None:
    queue = SendQueue(BOUND, 0.005)
    for _ in range(1000):
        queue.acknowledge()
    assert json.loads(str(await queue.next_frame())) == {"type": "heartbeat_ack"}
    queue.acknowledge()
    assert json.loads(str(await queue.next_frame())) == {"type": "heartbeat_ack"}
    queue.close()
    assert await queue.next_frame() is None


async def test_what_is_discarded_is_not_charged_any_more() -> None:
    queue = SendQueue(10, 0.005)
    queue.put("1" * 20)
    assert queue.buffer.full()
    queue.discard()
    assert queue.buffer.bytes == 0
    queue.put("2")
    assert await queue.next_frame() is None


async def test_a_message_passes_by_when_nothing_waits_and_nothing_is_being_sent(autojump_clock: MockClock) -> None:
    queue = SendQueue(BOUND, 0.005)
    assert queue.begin_direct_send()
    assert not queue.begin_direct_send()
    queue.put("0", urgent=False)
    queue.put("1")
    with trio.move_on_after(1) as waited:
        await queue.next_frame()
    assert waited.cancelled_caught
    queue.end_direct_send()
    assert not queue.begin_direct_send()
    assert await queue.next_frame() == "[0,1]"
    assert not queue.begin_direct_send()
    with trio.move_on_after(1):
        await queue.next_frame()
    assert queue.begin_direct_send()
    queue.close()
    queue.end_direct_send()
    assert not queue.begin_direct_send()


async def test_an_update_behind_one_that_passed_by_waits_for_its_window(autojump_clock: MockClock) -> None:
    queue = SendQueue(BOUND, 10)

    async def feed() -> None:
        assert queue.begin_direct_send()
        await trio.sleep(1)
        queue.end_direct_send()
        queue.put("0", urgent=False)
        await trio.sleep(20)

    assert await collect(queue, feed) == [(10_000, [0])]
