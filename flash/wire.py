"""The wire: every event, message and answer between the server and its pages, by name and by fields.

    events     server → page   Hello, Open, Props, End, Refused, Mistake, Ping, Replaced
    messages   page → server   Ack, Cancel, Close, TicketRequest
    answers    server → page   Status, Ticket
    control websocket          ControlMessage, ControlAnswer

Each is one class: its name on the wire is a class attribute, its dataclass fields are the fields of its JSON object, in
that order. `client/wire.js` is the twin in the browser, with one entry for each. To add an event, add a class here (and
to `EVENTS`) and an entry there; then send the one and handle the other. `tests/api/test_wire_twins.py` fails if either
side changes alone, or if `docs/wire.md` does not have it.

The frames of events are the affair of `sse`. An update is encoded once, at its `yield`; the JSON of a
`props` event is put together from its head, which a stream computes once, and its pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeAlias, TypedDict, cast

from .cancel_scopes import LAYOUT
from .errors import RequestRefused

Json: TypeAlias = bytes
"""A value that is JSON already."""

PROOF_HEADER = "X-Flash-Proof"
"""The header by which a page proves that a request is its own: see `asgi.page_key`."""

START_HEADER = "X-Flash-Start"
"""The header that names a start, which may come twice: as a request, and over the control websocket."""


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
        said = [(each.name, getattr(self, each.name), each.default) for each in fields(self)]
        return b",".join([b'"%b":%b' % (name.encode(), _json(value)) for name, value, off in said if value != off])


def _json(value: object) -> Json:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


# Events


@dataclass(frozen=True, slots=True)
class Payload(JsonObject):
    """What an event says; `event` is the event's name."""

    event: ClassVar[str]


@dataclass(frozen=True, slots=True)
class StreamPayload(Payload):
    """What an event of one stream says, besides the stream's id.

    Its JSON begins with the id, so that a page finds the events of a stream without parsing them.
    """

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
    """The link stands: the first event of every link.

    Attributes:
        life: names the life of the page's channel, within which events are numbered.
        ping: seconds of silence after which the server pings; None for never.
        grace: seconds for which the server keeps the streams of a page without a link; None for ever.
    """

    event: ClassVar[str] = "hello"
    life: str
    ping: float | None
    grace: float | None


class WatchedCondition(TypedDict):
    """One entry of `cancel=`, for the page to watch: where its property is, and what it was at the start."""

    id: Any
    property: str
    value: Any
    missing: bool
    exempt: bool


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
        callback: the id of its event callback.
        output: the Outputs of the Dash callback that it is a stream of; None if that has none.
        match: the values that MATCH matched, as JSON in a string; None if there are none.
        again: an `Again` for the page to start the stream with when its server is lost; None if it is not to.
        conflate: newer values take the place of older ones.
        components: an array of the ids of the components that it was started from; None if it depends on none.
        conditions: an array of `WatchedCondition`.
        props: an array of pairs, the on values of `running`.
        reset: an array of pairs that the page applies if it loses the stream.
    """

    event: ClassVar[str] = "open"
    callback: str
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
        callback: the id of its event callback.
        match: as in `Open`.
        message: why.
        status: what the event callback's status becomes; None for `failed`.
    """

    event: ClassVar[str] = "refused"
    callback: str
    match: str | None
    message: str
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Mistake(Payload):
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
    """The page is to acknowledge what it has applied."""

    event: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Replaced(Payload):
    """Another link has taken over the page: this one is closed, and is not to be opened again."""

    event: ClassVar[str] = "replaced"


EVENTS: tuple[type[Payload], ...] = (Hello, Open, Props, End, Refused, Mistake, Ping, Replaced)
"""All of them."""


# Messages of a page


@dataclass(frozen=True, slots=True)
class Message(JsonObject):
    """What a page says, by a POST to `_flash/<route>`; `page` is its token."""

    route: ClassVar[str]
    page: str

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Take the message from the body of a request.

        Raises:
            RequestRefused: it is malformed. Whether the page's token is one is not looked at.
        """
        return cls(str(body.get("page")))


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """The page has applied its events up to this one.

    Attributes:
        event: the id of the last event.
    """

    route: ClassVar[str] = "ack"
    event: str

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """See `Message.read`; `event` is the id of an event."""
        event = body.get("event")
        if not isinstance(event, str) or not event:
            event = "?"  # which is malformed
        parse_event_id(event)
        return cls(str(body.get("page")), event)


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """The property of a condition has changed while a stream that depends on it runs.

    Attributes:
        stream: the stream's id.
        condition: the index of the condition in `Open.conditions`; "layout" if the layout has none of the stream's
            components any more.
        value: of the property.
        change: numbers the changes of a page, in the order in which it made them, since a message may come twice, or
            be overtaken by a newer one.
    """

    route: ClassVar[str] = "cancel"
    stream: str
    condition: int | str
    value: Any
    change: int | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """See `Message.read`."""
        stream, condition, change = body.get("stream"), body.get("condition"), body.get("change")
        is_condition = condition == LAYOUT or _is_integer(condition)
        if not isinstance(stream, str) or not is_condition or "value" not in body:
            raise RequestRefused(400, 'A cancel request needs a "stream", the number of a "condition", and a "value".')
        if change is not None and (not _is_integer(change) or change < 0):
            raise RequestRefused(400, 'The "change" of a cancel request is a number.')
        return cls(str(body.get("page")), stream, cast("int | str", condition), body["value"], change)


@dataclass(frozen=True, slots=True)
class Close(Message):
    """The page is being left."""

    route: ClassVar[str] = "close"


@dataclass(frozen=True, slots=True)
class TicketRequest(Message):
    """The page asks for a ticket; the header that proves it to be the page is required."""

    route: ClassVar[str] = "ticket"


MESSAGES: tuple[type[Message], ...] = (Ack, Cancel, Close, TicketRequest)
"""All of them."""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Answers to a page


@dataclass(frozen=True, slots=True)
class Answer(JsonObject):
    """The body of an answer to a page; `route` is the route that it is an answer of."""

    route: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Status(Answer):
    """A link of this page would be accepted; a refusal is an answer of its own status, and its sentence.

    Attributes:
        message: always None.
    """

    route: ClassVar[str] = "status"
    message: None


@dataclass(frozen=True, slots=True)
class Ticket(Answer):
    """What opens one link of the page although the browser's cookie has changed.

    Attributes:
        ticket: goes into the address of the link; None if the page has no channel here, and needs none.
    """

    route: ClassVar[str] = "ticket"
    ticket: str | None


# The control websocket


@dataclass(frozen=True, slots=True)
class ControlMessage(JsonObject):
    """A request of a page, sent over the control websocket.

    Attributes:
        id: names it in the answer.
        to: the route of a `Message`, or "start".
        headers: of the request, beside those of the handshake.
        body: of the request.
    """

    route: ClassVar[str] = "control"
    id: int
    to: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, data: str | bytes) -> Self | None:
        """Take the message from what a websocket has brought; None if it is malformed."""
        try:
            said: object = json.loads(data) if isinstance(data, str) else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        said = cast("dict[str, object]", said)
        number, to, headers, body = (said.get(name) for name in ("id", "to", "headers", "body"))
        if not _is_integer(number) or not isinstance(to, str) or not isinstance(body, str):
            return None
        if not isinstance(headers, dict):
            return None
        headers = cast("dict[str, object]", headers)
        if not all(isinstance(value, str) and value.isprintable() for value in headers.values()):
            return None
        return cls(cast("int", number), to, cast("dict[str, str]", headers), body)


@dataclass(frozen=True, slots=True)
class ControlAnswer(Answer):
    """The answer to a `ControlMessage`.

    Attributes:
        id: of the message.
        status: the HTTP status.
        type: the content type.
        text: the body.
    """

    route: ClassVar[str] = "control"
    id: int
    status: int
    type: str
    text: str


ANSWERS: tuple[type[Answer], ...] = (Status, Ticket, ControlAnswer)
"""All of them."""
