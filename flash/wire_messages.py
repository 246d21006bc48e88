"""The wire, from the page's side: every message of a page and every answer to one, by name and by fields.

    messages   page → server   Ack, Cancel, Close, TicketRequest
    answers    server → page   Status, Acknowledged, Ticket
    control websocket          ControlMessage, ControlAnswer

What holds for the events in `wire` holds for these: each is one class, with its twin in `client/wire.js`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict, cast

from .cancel_scopes import LAYOUT
from .errors import RequestRefused
from .wire import JsonObject, parse_event_id

LINK_ROUTE = "events"
"""The route of a link: what its address ends with."""

# Messages of a page


class Message(JsonObject):
    """What pages say, by a POST to `_flash/<route>`."""

    __slots__ = ()

    route: ClassVar[str]


@dataclass(frozen=True, slots=True)
class PageMessage(Message):
    """What one page says; `page` is its token."""

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
    """Pages have applied their events.

    Attributes:
        events: the id of the last event that a page has applied, by the page's token.
    """

    route: ClassVar[str] = "ack"
    events: dict[str, str]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """See `PageMessage.read`."""
        events: object = body.get("events")
        if not isinstance(events, dict) or not events:
            raise RequestRefused(400, 'An acknowledgement needs "events": the id of an event for each page.')
        events = cast("dict[str, object]", events)
        for event in events.values():
            # What is missing is malformed, too.
            parse_event_id(event if isinstance(event, str) and event else "?")
        return cls(cast("dict[str, str]", events))


@dataclass(frozen=True, slots=True)
class Cancel(PageMessage):
    """A property has changed that a running stream has a condition on, or watches.

    Attributes:
        stream: the stream's id.
        condition: the index of the property in `Open.conditions`; "layout" if the layout has none of the stream's
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
        """See `PageMessage.read`."""
        stream, condition, change = body.get("stream"), body.get("condition"), body.get("change")
        is_condition = condition == LAYOUT or _is_integer(condition)
        if not isinstance(stream, str) or not is_condition or "value" not in body:
            raise RequestRefused(400, 'A cancel request needs a "stream", the number of a "condition", and a "value".')
        if change is not None and (not _is_integer(change) or change < 0):
            raise RequestRefused(400, 'The "change" of a cancel request is a number.')
        return cls(str(body.get("page")), stream, cast("int | str", condition), body["value"], change)


class Close(PageMessage):
    """The page is being left."""

    __slots__ = ()

    route: ClassVar[str] = "close"


class TicketRequest(PageMessage):
    """The page asks for a ticket; the header that proves it to be the page is required."""

    __slots__ = ()

    route: ClassVar[str] = "ticket"


MESSAGES: tuple[type[Message], ...] = (Ack, Cancel, Close, TicketRequest)
"""All of them."""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Answers to a page


class AnswerPayload(JsonObject):
    """The body of an answer to a page; `route` is the route that it is an answer of."""

    __slots__ = ()

    route: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Status(AnswerPayload):
    """A link of this page would be accepted; a refusal is an answer of its own status, and its sentence.

    Attributes:
        message: always None.
    """

    route: ClassVar[str] = "status"
    message: None


class RefusedPage(TypedDict):
    """A page whose part of a message was refused: its token, and the HTTP status and sentence of the refusal."""

    page: str
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Acknowledged(AnswerPayload):
    """The answer to an `Ack` that was refused for some of its pages, and taken for others.

    Attributes:
        refused: the pages that it was refused for.
    """

    route: ClassVar[str] = Ack.route
    refused: list[RefusedPage]


@dataclass(frozen=True, slots=True)
class Ticket(AnswerPayload):
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
            fields: object = json.loads(data) if isinstance(data, str) else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        fields = cast("dict[str, object]", fields)
        number, to, headers, body = (fields.get(name) for name in ("id", "to", "headers", "body"))
        if not _is_integer(number) or not isinstance(to, str) or not isinstance(body, str):
            return None
        if not isinstance(headers, dict):
            return None
        headers = cast("dict[str, object]", headers)
        if not all(isinstance(value, str) and value.isprintable() for value in headers.values()):
            return None
        return cls(cast("int", number), to, cast("dict[str, str]", headers), body)


@dataclass(frozen=True, slots=True)
class ControlAnswer(AnswerPayload):
    """The answer to a `ControlMessage`.

    Attributes:
        id: of the message.
        status: the HTTP status.
        type: the content type.
        text: the body.
        life: of the channel in which a stream was started; "" in answers to other messages.
    """

    route: ClassVar[str] = "control"
    id: int
    status: int
    type: str
    text: str
    life: str = ""


ANSWERS: tuple[type[AnswerPayload], ...] = (Status, Acknowledged, Ticket, ControlAnswer)
"""All of them."""
