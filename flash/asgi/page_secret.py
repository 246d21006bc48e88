"""Makes and checks the two names of a page: its token, which is public, and its secret, which proves the page.

    secret ── SHA-256 ── token

Each load of the app gets a secret with its layout, and the token that is the secret's hash. The token names the page in
addresses, which reach access logs. The secret never stands in an address: a page sends it in a header of its POST
requests (`wire.PROOF_HEADER`), and in a State of the request that starts a stream. A client that has the secret has
the layout that the secret came with. Any process can check a secret, and none has to store it.

A channel belongs to the browser that opened it, which is known by its cookie, and to the page that has the secret. A
request with the secret is accepted even if the browser's cookie has changed since: when tabs are opened together in a
browser without the cookie, each response sets one, and the last one stays. The link is an EventSource, which cannot
send the secret. It needs the cookie that opened the channel, or a *ticket*, which a page gets for its secret. A ticket
counts once, and gives the channel to the browser with the cookie of that request. A cookie alone, whoever planted it,
and a token alone, wherever it was read, never open a channel of another browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, cast

from ..errors import RequestRefused
from .tokens import is_token

PAGE_ID = "_flash"
"""The id of the hidden component whose properties are the page's token and its secret."""


def token_of(secret: str) -> str:
    """The token of the page whose secret this is."""
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
    """Whether `secret` is the secret of the page whose token is `token`."""
    return isinstance(secret, str) and is_token(secret) and hmac.compare_digest(token_of(secret), token)


def proven_pages(secrets: str | None) -> frozenset[str]:
    """The tokens of the pages whose secrets a request brings, with commas between them; None for none."""
    given = [secret.strip() for secret in (secrets or "").split(",")]
    return frozenset(token_of(secret) for secret in given if is_token(secret))


def with_secret(start: dict[str, Any]) -> dict[str, Any]:
    """The request that starts a stream, with a State for the page's secret.

    A page sends its secret in the State before that of its token. Another client may omit it, and is then known by its
    cookie alone.

    Args:
        start: the callback request; other callback requests are returned unchanged.

    Returns:
        `start`, or a copy with an empty secret before the token if `start` has a token and no secret.
    """
    sent = start.get("state")
    states = cast("list[Any]", sent) if isinstance(sent, list) else []
    own = [_own_property(state) for state in states[-2:]]
    if own[-1:] != ["token"] or own[0] == "secret":
        return start
    empty = {"id": PAGE_ID, "property": "secret", "value": None}
    return {**start, "state": [*states[:-1], empty, states[-1]]}


def _own_property(state: Any) -> str | None:
    """The property that a State reads of the component `PAGE_ID`; None if it reads another component."""
    fields = cast("dict[str, Any]", state) if isinstance(state, dict) else {}
    return fields.get("property") if fields.get("id") == PAGE_ID else None
