"""What names a page, and what proves that a request is the page's own.

    secret ── SHA-256 ── token

Each load of the app is given a secret with its layout, and the token that is the secret's hash. The token names the
page; it stands in addresses, which reach access logs. The secret never does: it comes in a header of what a page posts
(`wire.PROOF_HEADER`), and in the State of a start. Who has it has the layout that it came with; any process can check
it, and none has to remember it.

A channel belongs to the browser that opened it, which is known by its cookie, and to the page that has the secret. A
request that brings the secret is the page's own even if the browser's cookie has changed since: tabs that are opened
together in a browser without the cookie are each given one, and the last one wins. The link is an EventSource, which
cannot bring the secret: it needs the cookie that the channel was opened with, or a *ticket*, which the page gets
for its secret and which opens one link, once. A cookie alone, whoever planted it, and a token alone, wherever it was
read, never open what another browser has opened.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, cast

from ..errors import RequestRefused
from .tokens import is_token

PAGE_ID = "_flash"
"""The id of the hidden component that has the page's token and its secret."""


def token_of(secret: str) -> str:
    """The token of the page that has this secret."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()[:24]).decode()


def page_token(value: object) -> str:
    """The page's token that a request brings as `value`.

    Raises:
        RequestRefused: `value` is not a well-formed token.
    """
    if not is_token(value):
        raise RequestRefused(400, "The page's token is missing or malformed.")
    return cast("str", value)


def proves(secret: object, token: str) -> bool:
    """Whether `secret` is the one of the page that goes by `token`."""
    return isinstance(secret, str) and is_token(secret) and hmac.compare_digest(token_of(secret), token)


def with_secret(start: dict[str, Any]) -> dict[str, Any]:
    """A callback request, with an empty secret before the token if it brings none.

    The secret is the page's to bring. Any other client that starts a stream is known by its cookie alone.
    """
    sent = start.get("state")
    states = cast("list[Any]", sent) if isinstance(sent, list) else []
    own = [_own_property(state) for state in states[-2:]]
    if own[-1:] != ["token"] or own[0] == "secret":
        return start
    nothing = {"id": PAGE_ID, "property": "secret", "value": None}
    return {**start, "state": [*states[:-1], nothing, states[-1]]}


def _own_property(state: Any) -> str | None:
    """Which property of the page's own component a State is; None if it is another's."""
    fields = cast("dict[str, Any]", state) if isinstance(state, dict) else {}
    return fields.get("property") if fields.get("id") == PAGE_ID else None
