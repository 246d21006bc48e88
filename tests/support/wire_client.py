"""The client's side of Flash's protocol without a socket: what a page sends, and how it reads what comes.

    identity = PageIdentity()                                # a page with a token, in a browser with a secret
    target, headers = identity.events, identity.headers      # of the GET that opens its event stream
    reader = EventReader()
    reader.receive(data)                                     # a piece of that response's body
    event = reader.next_event()
    post = identity.acknowledge(event.id)                    # a request: its target, and its body

Every page without a browser is made of these, in the tests and in the benchmarks; they differ in how bytes travel.
Names, and the JSON of what a page sends, come from `flash.wire`, which `tests/api/test_wire_twins.py` compares with the
script in the browser. Does not import pytest, which the benchmarks do without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flash.asgi.browser_cookie import COOKIE
from flash.asgi.page_secret import PAGE_ID
from flash.asgi.tokens import new_token
from flash.websockets.control_socket import TARGETS
from flash.wire import Hello, Open, Payload, Ping, Standing, parse_event_id
from flash.wire_messages import LINK_ROUTE, Ack, Cancel, Close, Message, Status

Headers = Iterable[tuple[str, str]]

# What comes


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was on the wire.

    Attributes:
        name: of one of `flash.wire.EVENTS`.
        data: its JSON, decoded.
        id: the text of its `id` line; None if it has none.
    """

    name: str
    data: Any
    id: str | None


def parse_event(block: bytes) -> Event:
    """The event of one block of lines; ValueError if the block is not what an EventSource expects."""
    fields: dict[str, str] = {}
    for line in block.decode().split("\n"):
        name, colon, value = line.partition(": ")
        if not colon or name not in ("event", "data", "id"):
            raise ValueError(f"{line!r} is not a line of an event")
        if name in fields:
            raise ValueError(f"{name} comes twice in {block!r}")
        fields[name] = value
    return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


class EventReader:
    """Divides the body of an event stream, which arrives in pieces, into blocks of lines and into events.

    Attributes:
        rest: the bytes that are no whole block yet, or were not taken yet.
    """

    def __init__(self) -> None:
        self.rest = b""

    def receive(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.rest += data

    def next_block(self) -> bytes | None:
        """The next block of lines, without the empty line that ends it; None if it has not come yet."""
        block, found, rest = self.rest.partition(b"\n\n")
        if not found:
            return None
        self.rest = rest
        return block

    def next_event(self) -> Event | None:
        """The next event; None if it has not come yet. Blocks that only say when to retry are skipped."""
        while (block := self.next_block()) is not None:
            if not block.startswith(b"retry:"):
                return parse_event(block)
        return None


# For programs that count events by the thousand and do not decode each of them: a block is what has arrived, in whole
# events, with or without the heads of HTTP's chunks between them.


def _head(event: type[Payload]) -> bytes:
    """What comes before the JSON of an event."""
    return b"event: %b\ndata: " % event.event.encode()


_HELLO = re.compile(_head(Hello) + rb'.*"ping":([\d.]+|null)')
_OPEN = re.compile(_head(Open) + rb'\{"stream":"([^"]+)"')
_EVENT = re.compile(rb"(?:id: [^\n]*\n)?event: [^\n]*\ndata: [^\n]*\n\n")


def events_in(block: bytes) -> list[bytes]:
    """The events of a block, each whole."""
    return _EVENT.findall(block)


def last_id_in(block: bytes) -> bytes:
    """The id of the last event of a block that has one; empty if none has."""
    at = block.rfind(b"id: ")
    return block[at + 4 : block.index(b"\n", at)] if at >= 0 else b""


def ping_interval_in(block: bytes) -> float | None:
    """Seconds between pings, of the block that has the `hello`, infinite if there are no pings; None for any other."""
    hello = _HELLO.search(block)
    if hello is None:
        return None
    return float("inf") if hello[1] == b"null" else float(hello[1])


def last_opened_in(block: bytes) -> str:
    """The id of the last stream that a block opens; "" if it opens none."""
    opened = _OPEN.findall(block)
    return opened[-1].decode() if opened else ""


def has_ping(block: bytes) -> bool:
    """Whether a block has a `ping`."""
    return _head(Ping) in block


# What a page sends


class Post(NamedTuple):
    """A POST request: where, the JSON, and the headers that are its own."""

    target: str
    body: bytes
    headers: Headers = ()


def cookie(browser: str) -> str:
    """The value of the header `Cookie` of a browser with this secret."""
    return f"{COOKIE}={browser}"


@dataclass
class PageIdentity:
    """One page of one browser, and what it sends. Any server takes a well-formed token, so both can be made up.

    Attributes:
        token: names the page.
        browser: the secret in the browser's cookie.
        prefix: of the app's routes, with the slash at its end.
    """

    token: str = field(default_factory=new_token)
    browser: str = field(default_factory=new_token)
    prefix: str = "/"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the browser sends with each request."""
        return [("Cookie", cookie(self.browser))]

    @property
    def props(self) -> dict[str, dict[str, Any]]:
        """The values of the page's own component, which tell a start whose it is."""
        return {PAGE_ID: {"token": self.token}}

    def standing(self, last: str = "", turn: int = 0, link: int | None = None) -> str:
        """The page in the address of an event stream; `last` is the id of the last event that has reached it."""
        return str(Standing(self.token, turn, *parse_event_id(last), link))

    @property
    def events(self) -> str:
        """The target of the GET that opens the event stream of a page that has had none."""
        return events_target([self.standing()], self.prefix)

    @property
    def status(self) -> str:
        """The target of the GET that tells why an event stream is refused."""
        return f"{self.prefix}_flash/{Status.route}?page={self.standing()}"

    @property
    def start(self) -> str:
        """The target of the POST that starts a stream; `dash_requests.py` makes its body."""
        return self.prefix + TARGETS["start"]

    def acknowledge(self, event: str) -> Post:
        """All events up to the one with this id have been applied."""
        return self._say(Ack({self.token: event}))

    def cancel(self, stream: str, condition: int | str, value: Any) -> Post:
        """The property of a condition of a stream has become `value`."""
        return self._say(Cancel(self.token, stream, condition, value))

    def leave(self) -> Post:
        """The page is being left, as on `pagehide`."""
        return self._say(Close(self.token))

    def _say(self, message: Message) -> Post:
        return Post(self.prefix + TARGETS[message.route], message.encode())


def events_target(standings: Iterable[str], prefix: str = "/", tickets: Iterable[str] = ()) -> str:
    """The target of the GET that opens an event stream for several pages, each given by its `PageIdentity.standing`.

    `tickets` are for those of the pages whose cookie was overtaken.
    """
    query = [*(f"page={standing}" for standing in standings), *(f"ticket={ticket}" for ticket in tickets)]
    return f"{prefix}_flash/{LINK_ROUTE}?" + "&".join(query)


def resuming(event: str) -> list[tuple[str, str]]:
    """The header by which an event stream goes on after the event with this id; none if that is ""."""
    return [("Last-Event-ID", event)] if event else []
