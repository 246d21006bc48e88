"""Takes a client's address and scheme from the headers of a trusted proxy: `X-Forwarded-For`, `X-Forwarded-Proto`.

    client ── TLS ── proxy ── HTTP, with these headers ── Hypercorn ── Forwarded ── the app

Any client can send these headers, so they count only in connections from trusted addresses. Those are the addresses of
the machine itself, unless an option names others: `Flash(..., forwarded_allow_ips=...)`, or the environment variable
FORWARDED_ALLOW_IPS, which uvicorn uses as well. The client's address is the last one in `X-Forwarded-For` that is not a
trusted proxy's: the client may have invented those before it.

The scheme decides whether the browser's cookie is `Secure`, where redirects lead, and which `Origin` may open a
websocket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from ..errors import InvalidOption

LOOPBACK = ("127.0.0.0/8", "::1")
"""The addresses that are trusted without the option."""

_WEBSOCKET_SCHEMES = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}
_HTTP_SCHEMES = {"https": "https", "http": "http", "wss": "https", "ws": "http"}


class TrustedProxies:
    """The addresses of the proxies whose headers count."""

    def __init__(self, allowed: str | Sequence[str]) -> None:
        """
        Args:
            allowed: addresses and networks, such as "10.0.0.0/8", in a sequence or separated by commas; "*" trusts
                every address, and an empty value none.

        Raises:
            InvalidOption: `allowed` is something else.
        """
        entries: Iterable[Any] = allowed.split(",") if isinstance(allowed, str) else allowed
        self._everybody = False
        self._networks: list[IPv4Network | IPv6Network] = []
        try:
            for entry in [entry.strip() for entry in entries]:
                if entry == "*":
                    self._everybody = True
                elif entry:
                    self._networks.append(ip_network(entry, strict=False))
        except (AttributeError, TypeError, ValueError):
            raise InvalidOption(
                "forwarded_allow_ips= of Flash(...) is to be the addresses or networks of proxies that are trusted, "
                f'such as "10.0.0.1,192.168.0.0/16", or "*" for everybody; got {allowed!r}.'
            ) from None
        self._known: dict[str, bool] = {}

    def __contains__(self, client: str) -> bool:
        if self._everybody:
            return True
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= 1_000:
                self._known.clear()
            known = self._known[client] = self._find(client)
        return known

    def _find(self, client: str) -> bool:
        if not client:
            # The client uses a unix socket, which the permissions of its file protect.
            return bool(self._networks)
        try:
            address = ip_address(client)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def client(self, forwarded: Sequence[str]) -> str | None:
        """The client's address among those of `X-Forwarded-For`; None if `forwarded` is empty."""
        for address in reversed(forwarded):
            if address not in self:
                return address
        return forwarded[0] if forwarded else None


class Forwarded:
    """An ASGI app that puts the forwarded address and scheme into the scope of another one."""

    def __init__(self, app: Any, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        # Not async itself: a coroutine takes a quarter of a KiB of every link.
        if scope["type"] in ("http", "websocket"):
            peer: Any = scope.get("client")
            if ((peer[0] or "") if peer else "") in self._trusted:
                scope = self._read(scope)
        return self._app(scope, receive, send)

    def _read(self, scope: Any) -> Any:
        addresses: list[str] = []
        scheme = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                addresses += [entry.strip() for entry in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                # Each proxy appends its value, and only the first proxy knows the scheme that the client uses.
                scheme = value.decode("latin-1").split(",")[0].strip().lower()
        if addresses:
            client = self._trusted.client(addresses)
            if client is not None and _is_address(client):
                scope = {**scope, "client": (client, 0)}
        schemes = _WEBSOCKET_SCHEMES if scope["type"] == "websocket" else _HTTP_SCHEMES
        if scheme in schemes:
            scope = {**scope, "scheme": schemes[scheme]}
        return scope


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
