"""The link of a page: the event stream that brings what its streams send, and what the page does without one.

It does in Python what `flash/client/link.js` and `reconnect.js` do in a browser.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from typing import Any

import trio

from .. import wire
from ..sse import RETRY
from ..wire_messages import LINK_ROUTE, Ack
from .browser_profile import Browser
from .page_streams import PageStreams

LOSS_MARGIN = 1.0
"""Seconds that a page waits longer for a link than the server, which ends the streams after `reconnect_grace`."""


class PageLink:
    """The link of one page, opened again whenever it is cut.

    Attributes:
        failures: what went wrong while events were handled.
    """

    def __init__(
        self,
        browser: Browser,
        token: str,
        secret: str,
        streams: PageStreams,
        nursery: trio.Nursery,
        lost: Callable[[Collection[str]], None],
    ) -> None:
        """
        Args:
            browser: of the page.
            token: of the page.
            secret: of the page.
            streams: of the page.
            nursery: for tasks of the page.
            lost: is called when the page has a link, with the event callbacks whose streams were lost before that and
                are not started again.
        """
        self.failures: list[AssertionError] = []
        self._browser = browser
        self._token, self._secret = token, secret
        self._streams = streams
        self._lost = lost
        self._nursery = nursery
        self._turn = 0
        self._life = ""
        self._last = ""
        self._rest = b""
        self._reconnect_grace = math.inf
        self._gone = trio.Event()
        self._reads = trio.Event()
        self._reads.set()
        self._server_answers = trio.Event()
        self._server_answers.set()
        self._pause = RETRY / 1_000
        self._loss: trio.CancelScope | None = None
        self._scope = trio.CancelScope()
        self._handlers: dict[str, Callable[[Any], None]] = {
            wire.Hello.event: self._greet,
            wire.Open.event: streams.open,
            wire.Props.event: lambda data: streams.update(data["stream"], data["props"]),
            wire.End.event: streams.end,
            wire.Refused.event: streams.refuse,
            wire.MistakeEvent.event: lambda data: streams.mistakes.append(data["message"]),
            wire.Ping.event: self._acknowledge,
            wire.Over.event: lambda data: None,
        }

    async def run(self) -> None:
        """Open links until the page is closed."""
        with self._scope:
            while True:
                self._turn += 1
                self._gone, self._rest = trio.Event(), b""
                standing = wire.Standing(self._token, self._turn, *wire.parse_event_id(self._last))
                target = f"_flash/{LINK_ROUTE}?page={standing}"
                await self._browser.get(target, gone=self._gone, chunk=self._receive)
                self._start_loss_timer()
                await self._server_answers.wait()
                pause, self._pause = self._pause, RETRY / 1_000
                await trio.sleep(pause)

    def stall(self) -> None:
        """Read nothing more, and acknowledge nothing."""
        if self._reads.is_set():
            self._reads = trio.Event()

    def resume(self) -> None:
        """Read again."""
        self._reads.set()

    def cut(self, pause: float) -> None:
        """Cut the link; the next one is opened after so many seconds."""
        self._pause = pause
        self._gone.set()

    def lose_server(self) -> None:
        """The server is gone: nothing of it reaches the page any more, and no link can be opened."""
        self._server_answers = trio.Event()

    def find_server(self) -> None:
        """A server answers again: open a link."""
        self._pause = 0
        self._gone.set()
        self._server_answers.set()

    def close(self) -> None:
        """Open no link any more."""
        self._gone.set()
        self._reads.set()
        self._scope.cancel()
        if self._loss is not None:
            self._loss.cancel()

    async def _receive(self, data: bytes) -> None:
        await self._reads.wait()
        if not self._server_answers.is_set():
            return
        self._rest += data
        *blocks, self._rest = self._rest.split(b"\n\n")
        for block in blocks:
            fields: dict[str, str] = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                self._handle(fields["event"], json.loads(fields["data"]), fields.get("id"))

    def _handle(self, name: str, data: Any, event_id: str | None) -> None:
        if event_id is not None and name != wire.Hello.event:
            if not _follows(event_id, self._last):
                return
            self._last = event_id
        try:
            self._handlers[name](data)
        except Exception as error:
            failure = AssertionError(f"The page could not handle the event {name!r}: {error!r}.")
            failure.__cause__ = error
            self.failures.append(failure)

    def _greet(self, hello: Any) -> None:
        if self._loss is not None:
            self._loss.cancel()
            self._loss = None
        grace = hello["reconnect_grace"]
        self._reconnect_grace = math.inf if grace is None else grace
        if hello["life"] != self._life:
            self._lose(hello.get("revoked", ()))
            self._life = hello["life"]
        self._lost(self._streams.forget_lost())
        self._streams.resume()

    def _acknowledge(self, ping: Any) -> None:
        if self._life in ping["lives"] and self._last:
            self._nursery.start_soon(self._browser.post, Ack({self._token: self._last}), self._secret)

    def _lose(self, revoked: Collection[str] = ()) -> None:
        self._life = self._last = ""
        self._streams.lose_all(revoked)

    def _start_loss_timer(self) -> None:
        if self._reconnect_grace == 0:
            self._lose()
        elif self._loss is None and self._life and self._reconnect_grace < math.inf:
            self._loss = trio.CancelScope()
            self._nursery.start_soon(self._lose_later, self._loss, self._reconnect_grace + LOSS_MARGIN)

    async def _lose_later(self, scope: trio.CancelScope, seconds: float) -> None:
        with scope:
            await trio.sleep(seconds)
            self._lose()


def _follows(event_id: str, last: str) -> bool:
    """Whether an event comes after the last one: of another life, or with a higher number."""
    life, number = wire.parse_event_id(event_id)
    last_life, last_number = wire.parse_event_id(last)
    return life != last_life or number > last_number
