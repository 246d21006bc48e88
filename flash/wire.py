"""The wire, from the server's side: the address of a link, and every event that comes over it, by name and by fields.

    address    page → server   Standing, once for each page that the link is to carry
    events     server → page   Hello, Open, Props, End, Refused, MistakeEvent, Ping, Over

What pages say is in `wire_messages`. Each event is one class: its name on the wire is a class attribute, its dataclass
fields are the fields of its JSON object, in that order. `client/wire.js` is the twin in the browser, with one entry for
each. To add an event, add a class here (and to `EVENTS`) and an entry there; then send the one and handle the other.
`tests/api/test_wire_twins.py` fails if either side changes alone, or if `docs/wire.md` does not have it.

The frames of events are the affair of `sse`. An update is encoded once, at its `yield`; the JSON of a `props` event is
put together from its head, which a stream computes once, and its pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias, TypedDict

from .errors import RequestRefused

Json: TypeAlias = bytes
"""A value that is JSON already."""

PROOF_HEADER = "X-Flash-Proof"
"""The header by which pages prove that a request is their own: their secrets, with commas. See `asgi.page_secret`."""

START_HEADER = "X-Flash-Start"
"""The header that names a start, which may come twice: as a request, and over the control websocket."""

LIFE_HEADER = "X-Flash-Life"
"""The header of the answer to a start: the life of the channel in which the stream runs."""

RESUME_FIELD = "resume"
"""The field of a start by which a page that was loaded follows the run that is still going, and starts none."""


_EVENT_ID = re.compile(r"([0-9a-f]{8})\.([0-9]{1,18})")


def parse_event_id(value: str | None) -> tuple[str | None, int]:
    """The life and the number in the id of an event.

    Returns:
        `(None, 0)` if `value` is missing or empty, as it is from a page that has no event yet.

    Raises:
        RequestRefused: `value` is not the id of an event.
    """
    if not value:
        return None, 0
    parsed = _EVENT_ID.fullmatch(value)
    if parsed is None:
        raise RequestRefused(400, "The id of the last event is malformed.")
    return parsed[1], int(parsed[2])


_STANDING = re.compile(r"([^:]*):([0-9]{1,9})(?:\.([0-9]{1,9}))?(?::(.+))?")

LINKS_OF_A_TURN = 1_000_000_000
"""More than the links that a hub opens while a page stays with it."""


class Standing(NamedTuple):
    """One page of a link, and how far it has come: `page=` in the address of the link.

    Attributes:
        page: its token.
        turn: how often the page has changed what carries its events.
        life: the life of the last event that has reached it; None if none has.
        number: of that event.
        link: the number of the link among those that the page's hub has opened; None for one that the page opens.
    """

    page: str
    turn: int
    life: str | None = None
    number: int = 0
    link: int | None = None

    @property
    def order(self) -> int:
        """The place of the link among those for the page: one that was opened later has a higher one."""
        link = LINKS_OF_A_TURN - 1 if self.link is None else self.link
        return self.turn * LINKS_OF_A_TURN + link

    @classmethod
    def read(cls, text: str) -> Self:
        """Take it from an address.

        Raises:
            RequestRefused: it is malformed. Whether the page's token is one is not looked at.
        """
        found = _STANDING.fullmatch(text)
        if found is None:
            raise RequestRefused(400, "A page of a link is named by its token and its turn, with a colon between.")
        link = None if found[3] is None else int(found[3])
        return cls(found[1], int(found[2]), *parse_event_id(found[4]), link)

    def __str__(self) -> str:
        text = f"{self.page}:{self.turn}" if self.link is None else f"{self.page}:{self.turn}.{self.link}"
        return text if self.life is None else f"{text}:{self.life}.{self.number}"


def array(*parts: bytes) -> Json:
    """A JSON array of elements that are JSON already; each part has some, separated by commas, or none."""
    return b"[%b]" % b",".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class JsonObject:
    """What is sent as one JSON object: its fields, in order; those of type `Json` as they are.

    A field that has a default is left out where it has that value.
    """

    def encode(self) -> Json:
        """The JSON object."""
        return b"{%b}" % self.encode_fields()

    def encode_fields(self) -> bytes:
        """The inner part of the JSON object."""
        values = [(each.name, getattr(self, each.name), each.default) for each in fields(self)]
        return b",".join([b'"%b":%b' % (name.encode(), _json(value)) for name, value, off in values if value != off])


def _json(value: object) -> Json:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


# Events


class Payload(JsonObject):
    """What an event says; `event` is the event's name."""

    __slots__ = ()

    event: ClassVar[str]


class StreamPayload(Payload):
    """What an event of one stream says, besides the stream's id.

    Its JSON begins with the id, so that a page finds the events of a stream without parsing them.
    """

    __slots__ = ()

    def encode_for(self, stream: str) -> Json:
        """The JSON object of the event of this stream."""
        return encode_for(stream, self.encode_fields())


def stream_prefix(stream: str) -> bytes:
    """What the JSON of every event of a stream begins with. `wire.js` has the same function: `streamPrefix`."""
    return b'{"stream":%b,' % json.dumps(stream).encode()


def encode_for(stream: str, encoded_fields: bytes) -> Json:
    """The JSON object of an event of a stream, whose other fields are encoded already."""
    return b"%b%b}" % (stream_prefix(stream), encoded_fields)


@dataclass(frozen=True, slots=True)
class Hello(Payload):
    """The link carries this page: what it sends first, once for each of its pages.

    Attributes:
        page: its token.
        life: names the life of the page's channel, within which events are numbered.
        ping: seconds of silence after which the server pings; None for never.
        reconnect_grace: seconds for which the server keeps the streams of a page without a link; None for ever.
        revoked: the ids of streams that have ended with `revoked`, of this life and those before it: if the page knows
            them still, it is not to take them for lost.
        workers: several processes serve the app, and each sends the page's requests on to the one that has its channel.
    """

    event: ClassVar[str] = "hello"
    page: str
    life: str
    ping: float | None
    reconnect_grace: float | None
    revoked: Sequence[str] = ()
    workers: bool = False


class ReportedProperty(TypedDict):
    """A property whose changes the page reports while a stream runs: of `cancel=` or, if it is `watched`, of `watch=`.

    It says where the property is, and what it was at the start. Of a watched one only the newest value counts.
    """

    id: Any
    property: str
    value: Any
    missing: bool
    exempt: bool
    watched: bool


class Dependency(TypedDict):
    """Where a page finds the value of an Input or State."""

    id: Any
    property: str
    optional: bool


class Again(TypedDict):
    """What a page needs to start a stream again: the request that started it, without the values."""

    output: str
    outputs: Any
    inputs: list[Any]
    state: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(StreamPayload):
    """A stream runs.

    Attributes:
        callback_id: the id of its event callback's hidden component.
        output: the Outputs of the Dash callback that it is a stream of; None if that has none.
        match: the values that MATCH matched, as JSON in a string; None if there are none.
        again: an `Again` for the page to start the stream with when its server is lost; None if it is not to.
        conflate: newer values take the place of older ones.
        components: an array of the ids of the components that it was started from; None if it depends on none.
        conditions: an array of `ReportedProperty`, first those of `cancel=`, then those of `watch=`.
        props: an array of pairs, the on values of `running`.
        reset: an array of pairs that the page applies if it loses the stream.
    """

    event: ClassVar[str] = "open"
    callback_id: str
    output: str | None
    match: str | None
    again: Again | None
    conflate: bool
    components: Json
    conditions: Json
    props: Json
    reset: Json


@dataclass(frozen=True, slots=True)
class Props(StreamPayload):
    """Updates of a stream.

    Attributes:
        props: an array of `[id, props]` pairs, in the order in which the page applies them.
    """

    event: ClassVar[str] = "props"
    props: Json


PROPS_DATA = b"%b%b]}"
"""The JSON of a `props` event, given what `props_head` returns, and the pairs: what `Props.encode_for` returns."""


def props_head(stream: str) -> bytes:
    """What the JSON of every `props` event of a stream begins with."""
    return stream_prefix(stream) + b'"props":['


@dataclass(frozen=True, slots=True)
class Failure(JsonObject):
    """What a page is told of an exception.

    Attributes:
        message: one sentence.
        html: a page for the dev tools; None without them.
    """

    message: str
    html: str | None


@dataclass(frozen=True, slots=True)
class End(StreamPayload):
    """A stream is over.

    Attributes:
        reason: an `EndReason`.
        props: an array of the last pairs, in the order in which the page applies them.
        error: a `Failure`, `null` if there is none to show.
        handled: `on_error` has dealt with the failure, so that nobody else is to be told.
    """

    event: ClassVar[str] = "end"
    reason: str
    props: Json
    error: Json
    handled: bool = False


@dataclass(frozen=True, slots=True)
class Refused(Payload):
    """A stream was not started.

    Attributes:
        callback_id: the id of its event callback's hidden component.
        match: as in `Open`.
        message: why.
        status: what the event callback's status becomes; None for `failed`.
    """

    event: ClassVar[str] = "refused"
    callback_id: str
    match: str | None
    message: str
    status: str | None = None


@dataclass(frozen=True, slots=True)
class MistakeEvent(Payload):
    """A mistake of the app's code that raises nothing, for the dev tools.

    Attributes:
        callback: the name of the event callback.
        message: what is wrong, and what to do.
    """

    event: ClassVar[str] = "mistake"
    callback: str
    message: str


@dataclass(frozen=True, slots=True)
class Ping(Payload):
    """Pages are to acknowledge what they have applied, even if they have said so before.

    Attributes:
        lives: those of the pages that are asked.
    """

    event: ClassVar[str] = "ping"
    lives: list[str]


@dataclass(frozen=True, slots=True)
class Over(Payload):
    """The link does not carry this page, or not any more; it goes on for its others.

    Attributes:
        page: its token.
        life: the life that the link has carried; None if it has carried none.
        status: the HTTP status with which a link of this page alone would be refused. 409: another link has taken its
            place. 410: that life is over, and a new link begins another.
        message: why.
    """

    event: ClassVar[str] = "over"
    page: str
    life: str | None
    status: int
    message: str


EVENTS: tuple[type[Payload], ...] = (Hello, Open, Props, End, Refused, MistakeEvent, Ping, Over)
"""All of them."""
