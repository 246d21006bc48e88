"""Says which requests need the holder of their browser, and of which browser they are, by their head alone.

Most requests can be answered by any worker. What touches a channel or a websocket callback has to reach the worker that
has it: the link and the other routes of Flash, the websockets, and a callback request that starts a stream. The page
marks such a start with a header, so that nobody has to read its body to know where it belongs.

A request without the browser's cookie belongs to nobody yet, and is answered where it lands.
"""

from __future__ import annotations

from ..asgi.browser_cookie import browser_in
from ..asgi.http_exchange import CALLBACKS
from ..wire import START_HEADER
from ..wire_messages import LINK_ROUTE, MESSAGES, ControlMessage, Status
from .directory import browser_key
from .frames import Message

_LINK = f"/_flash/{LINK_ROUTE}"

_MESSAGES = tuple(f"/_flash/{message.route}" for message in MESSAGES)

_HTTP = (_LINK, f"/_flash/{Status.route}", *_MESSAGES)

_WEBSOCKETS = (f"/_flash/{ControlMessage.route}", "/_dash-ws-callback")

_STARTS = START_HEADER.lower().encode()


def browser_needed(scope: Message) -> str | None:
    """The key of the browser whose holder a request needs; None if any worker can answer the request."""
    if scope["type"] == "http":
        needed = scope["path"].endswith(_HTTP) or _starts_stream(scope)
    else:
        needed = scope["type"] == "websocket" and scope["path"].endswith(_WEBSOCKETS)
    secret = browser_in(scope["headers"]) if needed else None
    return None if secret is None else browser_key(secret)


def begins_something(scope: Message) -> bool:
    """Whether a request opens a link, or starts a stream."""
    return scope["type"] == "http" and (scope["path"].endswith(_LINK) or _starts_stream(scope))


def is_message(scope: Message) -> bool:
    """Whether a request is a message of a page, such as an acknowledgement."""
    return scope["type"] == "http" and scope["path"].endswith(_MESSAGES)


def is_long(scope: Message) -> bool:
    """Whether a request lasts as long as its page: a link, or a websocket."""
    return scope["type"] == "websocket" or scope["path"].endswith(_LINK)


def _starts_stream(scope: Message) -> bool:
    return scope["path"].endswith(CALLBACKS) and any(name.lower() == _STARTS for name, _ in scope["headers"])
