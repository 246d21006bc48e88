"""A channel without HTTP or Dash: streams of plain Python generators, read from the outbox."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from flash.cancel_scopes import Condition, EndReason
from flash.channels import Channels
from flash.errors import InvalidUpdate
from flash.nursery import Channel
from flash.streams.events import Event, LightUpdates
from flash.streams.link import Attachment, Link
from flash.streams.spec import StreamSpec
from flash.streams.stream import Stream
from flash.wire import Standing
from tests.support.eventually import TIMEOUT

E = TypeVar("E", bound=BaseException)

PAGE, BROWSER = "page", "browser"
CLEANUP_TIMEOUT = 5.0


def encode(value: object) -> bytes | None:
    """Updates are integers and strings here; anything else is refused, as a real encoder would."""
    if value is None:
        return None
    if not isinstance(value, int | str):
        raise InvalidUpdate(f"the event callback 'test' yielded {value!r}")
    return json.dumps(value).encode()


class LightInt(int):
    """An update that may wait as it is, and be encoded with others: see `LightUpdates`."""

    size = 20

    @property
    def pairs(self) -> tuple[int]:
        return (self,)


def encode_light(pairs: list[Any]) -> bytes:
    return json.dumps(pairs).encode()[1:-1]


LIGHT = LightUpdates(LightInt, encode_light)
"""How a stream is told of them."""


class PageLink(Link):
    """A link of one page.

    Attributes:
        channel: the page's.
        attachment: the channel as the link reads it.
    """

    channel: Channel
    attachment: Attachment


async def connect(
    channels: Channels,
    nursery: trio.Nursery,
    page: str = PAGE,
    browser: str = BROWSER,
    life: str | None = None,
    number: int = 0,
    turn: int = 0,
) -> PageLink:
    """Open a link of a page that says that the event `number` of `life` is the last one that it has."""
    link = PageLink()
    link.channel = await channels.connect(nursery, link, browser, Standing(page, turn, life, number))
    [link.attachment] = link.attachments
    return link


@dataclass
class PretendPage:
    """One page: starts streams on its channel, and reads what the page is sent."""

    channels: Channels
    link: PageLink
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    number: int = 0

    def start(
        self,
        generator: Callable[[], object],
        key: str = "key",
        on_error: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> Stream:
        options.setdefault("resets", b'"reset"')
        options.setdefault("off", b'"off"')
        options.setdefault("is_plain", inspect.isgeneratorfunction(generator))
        options.setdefault("encode", encode)
        spec = StreamSpec(
            callback="test",
            key=key,
            generator=generator,
            on_error=on_error,
            opening=b'"callback":"test"',
            **options,
        )
        return self.link.channel.start(spec)

    def read(self) -> list[tuple[str, dict[str, Any]]]:
        """Take what waits for the page, as (event, data); also kept in `seen`."""
        return self._note(self.link.channel.outbox.take(10**9))

    def _note(self, events: Sequence[Event]) -> list[tuple[str, dict[str, Any]]]:
        self.number = events[-1].number if events else self.number
        news = [(event.name, json.loads(event.data)) for event in events]
        self.seen.extend(news)
        return news

    async def settle(self) -> list[tuple[str, dict[str, Any]]]:
        """Let every task run until all are blocked, then read."""
        await trio.testing.wait_all_tasks_blocked()
        return self.read()

    async def read_to_end(self) -> None:
        """Read until an `end` has come."""
        with trio.fail_after(TIMEOUT):
            while not any(name == "end" for name, _ in self.seen):
                for _, events in await self.link.receive(10**9):
                    self._note(events)

    def log(self, stream: Stream) -> list[Any]:
        """What the page has seen of one stream: "open", its updates, and its end as (reason, props)."""
        log: list[Any] = []
        for name, data in self.seen:
            if data.get("stream") == stream.id:
                if name == "open":
                    log.append("open")
                elif name == "props":
                    log.extend(data["props"])
                else:
                    log.append((data["reason"], data["props"]))
        return log


async def endless() -> AsyncGenerator[int, None]:
    """The generator of a stream that ends only from outside: an update each second, 0, 1, 2 ..."""
    count = 0
    while True:
        yield count
        count += 1
        await trio.sleep(1)


async def ending(page: PretendPage, generator: Callable[[], object], **options: Any) -> Stream:
    """A stream that was cancelled while its generator waited."""
    stream = page.start(generator, **options)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    return stream


def cleaning_up(clean_up: Callable[[], Awaitable[object]]) -> Callable[[], AsyncGenerator[int, None]]:
    """A generator function whose stream ends only from outside; its `finally` runs `clean_up` under a shield."""

    async def generator() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await clean_up()

    return generator


async def cancelled(page: PretendPage, generator: Callable[[], object], **options: Any) -> Stream:
    """A stream that was cancelled while its generator waited, and has ended."""
    stream = await ending(page, generator, **options)
    await page.read_to_end()
    return stream


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages in the log that are warnings or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def line_of(function: Callable[..., object], text: str) -> str:
    """`file:line` of the one line of a function that has the text."""
    lines, first = inspect.getsourcelines(function)
    [number] = [first + index for index, line in enumerate(lines) if text in line]
    return f"{inspect.getsourcefile(function)}:{number}"


class Errors(list[E]):
    """The exceptions that an `on_error` was given, which is `note`.

    It is async, for tests on the mock clock: a plain one runs in a thread, of which that clock knows nothing. The clock
    would jump past the deadline of the handler before the thread has had its turn.
    """

    async def note(self, error: E) -> None:
        self.append(error)


OpenPage = Callable[..., Any]


def on_mock_clock(function: Callable[..., Any], **options: Any) -> Any:
    """Run a test on a clock that jumps to the next deadline whenever every task is blocked."""
    options["clock"] = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(function, **options)


def is_met(label: str, desired: object) -> Condition:
    def predicate(value: object) -> bool:
        return value == desired

    return Condition(label, predicate, counts=False)


def reasons(events: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    return [data["reason"] for name, data in events if name == "end"]
