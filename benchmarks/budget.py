"""The budget of one update: what each stage between the generator's `yield` and the socket takes.

    python -m benchmarks.budget [--updates 50000] [--runs 5]

Starts no server: the stages are called one by one, in this process, as the server calls them, and timed by the CPU of
their thread over many updates. Two cases: an update that travels alone, as most do, and one of many that are yielded
without pause, which join in events and share writes. One that travels alone is written directly, or, with HTTP/2, wakes
its connection's task, which has Hypercorn write it.

    make      stream_props(...)
    step      the generator's own __anext__
    encode    to JSON; without pause that is a part of `frame`, as updates that wait are encoded together
    buffer    into the page's outbox; alone into the log of what was sent
    loop      the stream around that: what the whole takes beyond its parts (without pause only)
    wake      the connection's task, which waits for something to send (woken only)
    frame     out of the outbox, to the bytes of events, acknowledged later
    write     directly, or one body message through Hypercorn, to a socket; of which 64 KiB hold a thousand updates

What Quart's and Hypercorn's layers do with a request is not part of it: an event stream passes them once.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio import serve

# The app's server module is what makes Hypercorn write as `flash run` does.
import flash.server.backend  # noqa: F401  # pyright: ignore[reportUnusedImport]
from benchmarks import harness
from benchmarks.harness import TIMEOUT, Runs, say
from benchmarks.results import Result
from flash import Update, _hypercorn, stream_props
from flash.asgi.direct_writes import DirectWriter
from flash.channels import Channels
from flash.props import LIGHT_UPDATES, encode_pairs, update_encoder
from flash.sse import WRITE_SIZE, encode_events, frame_of_props
from flash.streams.buffer import Bounds, StreamBuffer
from flash.streams.events import Event
from flash.streams.link import Link
from flash.streams.outbox import DirectSender, Outbox
from flash.streams.spec import StreamSpec
from flash.wire import Standing

NAME = "budget of an update"
ALONE, WOKEN, TOGETHER = "alone", "by the link's task", "without pause"
DIRECTLY = 0
"""In place of the size of a body message: written directly."""
HEAD = b'{"stream":"01234567-1","props":['
ROUND = 500
"""Updates that are in the outbox at a time, when they are yielded without pause."""

SMALL = ["--updates", "1000", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--updates", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)


def measure(options: argparse.Namespace) -> list[Result]:
    say(f"{NAME}: {options.runs} runs")
    runs, stages = Runs(), list[tuple[str, str]]()
    for _ in range(options.runs):
        for (subject, stage), microseconds in trio.run(_measure, options.updates).items():
            runs.add(subject, **{stage: microseconds})
            if (subject, stage) not in stages:
                stages.append((subject, stage))
    return [runs.result(NAME, subject, stage, "us") for subject, stage in stages]


async def _measure(updates: int) -> dict[tuple[str, str], float]:
    # As many as are there at a time: more would make the garbage collector part of it.
    made = [stream_props("out", {"children": number}) for number in range(ROUND)]
    encoded = [encode_pairs(update.pairs) for update in made]
    make = _timed(updates, lambda number: stream_props("out", {"children": number}))
    encoder = update_encoder("count")
    encode = _timed(updates, lambda number: encoder(made[number % ROUND]))
    step = await _step(made, updates)
    whole = await _whole(updates)
    write = await _write(updates // 10)
    found: dict[tuple[str, str], float] = {}
    for subject, together in ((ALONE, 1), (WOKEN, 1), (TOGETHER, ROUND)):
        buffer, frame, size = _buffer_and_frame(made, encoded, updates, together)
        if subject == ALONE:
            buffer, frame = _put_and_frame(encoded, updates)
        parts = {"make": make, "step": step, "encode": encode, "buffer": buffer}
        if together > 1:
            del parts["encode"]
            parts["loop"] = max(0.0, whole - sum(parts.values()) - frame)
            parts["frame"] = frame
            parts["write"] = write[WRITE_SIZE] * size / WRITE_SIZE
        elif subject == WOKEN:
            parts["wake"] = max(0.0, await _wake(encoded, updates) - buffer - frame)
            parts["frame"] = frame
            parts["write"] = write[128]
        else:
            parts["frame"] = frame
            parts["write"] = write[DIRECTLY]
        found |= {(subject, stage): 1e6 * seconds for stage, seconds in parts.items()}
    return found


def _timed(times: int, function: Callable[[int], object]) -> float:
    """Seconds of CPU that a call takes."""

    def run(called: Callable[[int], object]) -> float:
        began = time.thread_time()
        for number in range(times):
            called(number)
        return time.thread_time() - began

    return (run(function) - run(lambda number: number % ROUND)) / times


async def _step(made: list[Update], times: int) -> float:
    async def generator() -> AsyncGenerator[Update, None]:
        for number in range(times):
            yield made[number % ROUND]

    began = time.thread_time()
    async for _ in generator():
        pass
    return (time.thread_time() - began) / times


def _buffer_and_frame(
    made: list[Update], encoded: list[bytes], updates: int, together: int
) -> tuple[float, float, float]:
    """Seconds into the outbox, and seconds out of it, per update; and its bytes on the wire."""
    outbox, buffer = Outbox(1 << 40), StreamBuffer(Bounds(updates=ROUND + 1), HEAD, LIGHT_UPDATES)
    put, size, last = 0.0, 0, 0
    began = looked = time.thread_time()
    for at in range(0, updates, together):
        for number in range(at, at + together):
            if not buffer.gather(made[number % ROUND]):
                outbox.put_update(encoded[number % ROUND], buffer)
        put -= looked - (looked := time.thread_time())
        while events := outbox.take(WRITE_SIZE):
            size += len(encode_events("01234567", events))
            last = events[-1].number
        outbox.acknowledge(last)
        looked = time.thread_time()
    took = looked - began
    # Looking at the clock takes its time, too: once before and once after each `put`.
    looking = _timed(10_000, lambda number: time.thread_time()) * updates / together
    return max(0.0, put - looking) / updates, max(0.0, took - put - looking) / updates, size / updates


class _Sender:
    """Sends updates of a page nowhere; makes their frames if told to."""

    def __init__(self, *, makes_frames: bool) -> None:
        self._frame = frame_of_props("01234567") if makes_frames else None

    def room(self) -> int:
        return WRITE_SIZE

    def send_now(self, events: list[Event]) -> bool:
        raise AssertionError(events)

    def send_update(self, number: int, head: bytes, pairs: bytes) -> bool:
        return self._frame is None or bool(self._frame % (number, head, pairs))

    def bytes_until_ping(self) -> float:
        raise AssertionError

    def send_uncounted(self, number: int, head: bytes, pairs: bytes) -> bool:
        raise AssertionError(number)

    def count(self, updates: int, head: bytes, size: int) -> None:
        raise AssertionError(updates)


class _Reader:
    """Reads the outbox of a page from the tasks of its streams."""

    is_queued = False

    def __init__(self, sender: _Sender) -> None:
        self.sender: DirectSender | None = sender

    def wake(self) -> None:
        raise AssertionError


def _put_and_frame(encoded: list[bytes], updates: int) -> tuple[float, float]:
    """Seconds for an update that nothing waits before: into the log of what was sent; and for its frame."""

    def timed(*, makes_frames: bool) -> float:
        outbox, buffer = Outbox(1 << 40), StreamBuffer(Bounds(), HEAD)
        outbox.put("open", b"{}")
        outbox.take(WRITE_SIZE)
        outbox.reader = _Reader(_Sender(makes_frames=makes_frames))
        return _timed(updates, lambda number: outbox.send_update(encoded[number % ROUND], buffer))

    put = timed(makes_frames=False)
    return put, max(0.0, timed(makes_frames=True) - put)


async def _wake(encoded: list[bytes], times: int) -> float:
    """Seconds for one update into the outbox, a switch to the task that waits for it, and out of it.

    The generator's task waits for something else meanwhile: that is not counted.
    """
    channels, buffer = Channels(), StreamBuffer(Bounds(), HEAD)

    async def read(link: Link) -> None:
        while received := await link.receive(WRITE_SIZE):
            for attachment, events in received:
                encode_events(attachment.channel.life, events)
                attachment.channel.outbox.acknowledge(events[-1].number)

    async with trio.open_nursery() as nursery:
        link = Link()
        outbox = (await channels.connect(nursery, link, "browser", Standing("page", 0))).outbox
        nursery.start_soon(read, link)
        await trio.testing.wait_all_tasks_blocked()
        began = time.thread_time()
        for _ in range(times):
            await trio.lowlevel.checkpoint()
        bare, began = time.thread_time() - began, time.thread_time()
        for number in range(times):
            outbox.put_update(encoded[number % ROUND], buffer)
            await trio.lowlevel.checkpoint()
        took = time.thread_time() - began
        nursery.cancel_scope.cancel()
    return (took - bare) / times


async def _whole(updates: int) -> float:
    """Seconds per update of a real stream in a real channel, from the generator to the bytes of its events."""

    async def generator() -> AsyncGenerator[Update, None]:
        for number in range(updates):
            yield stream_props("out", {"children": number})

    channels = Channels()
    async with trio.open_nursery() as nursery:
        link = Link()
        channel = await channels.connect(nursery, link, "browser", Standing("page", 0))
        began = time.thread_time()
        channel.start(
            StreamSpec(
                callback="count",
                key="count",
                generator=generator,
                encode=update_encoder("count"),
                light=LIGHT_UPDATES,
                opening=b'"callback":"count"',
            )
        )
        over = False
        while not over:
            [(_, events)] = await link.receive(WRITE_SIZE)
            encode_events(channel.life, events)
            channel.acknowledge(channel.life, events[-1].number)
            over = events[-1].name == "end"
        took = time.thread_time() - began
        await channels.shut_down()
    return took / updates


async def _write(writes: int) -> dict[int, float]:
    """Seconds for a body message, by its size or `DIRECTLY`, to a reader in another thread, with a real Hypercorn."""
    took: dict[int, float] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for size, count in ((128, writes), (WRITE_SIZE, max(1, writes // 100))):
            body = bytes(size)
            began = time.thread_time()
            for _ in range(count):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            took[size] = (time.thread_time() - began) / count
        connection = _hypercorn.direct_write_connection(send)
        assert connection is not None
        writer = DirectWriter(connection)
        began = time.thread_time()
        for _ in range(writes):
            # Else it would not write more than once a millisecond.
            writer.free_from = 0.0
            if not writer.write(bytes(128)):
                await writer.finish()
        took[DIRECTLY] = (time.thread_time() - began) / writes
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    config, over = Config(), trio.Event()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(serve, app, config, shutdown_trigger=over.wait, mode="asgi"))
        await trio.to_thread.run_sync(_read_all, int(url.rpartition(":")[2]))
        over.set()
    return took


def _read_all(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        while connection.recv(1 << 20):
            pass


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
