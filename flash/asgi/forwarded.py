"""Reads what a trusted proxy says of the client: address and scheme, from `X-Forwarded-For` and `X-Forwarded-Proto`.

    client ── TLS ── proxy ── HTTP, with these headers ── Hypercorn ── Forwarded ── the app

Anybody can send these headers, so they count only from the addresses that are trusted, which are those of the machine
itself unless there is an option: `Flash(..., forwarded_allow_ips=...)`, or the variable FORWARDED_ALLOW_IPS, as
uvicorn has it. Of `X-Forwarded-For` the last address that is not itself one of a trusted proxy is the client's: those
before it were said by the client.

The scheme decides whether the browser's cookie is `Secure`, where redirects lead, and which `Origin` may open a
websocket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from ..errors import InvalidOption

LOOPBACK = ("127.0.0.0/8", "::1")
"""Who is trusted unless there is an option."""

_WEBSOCKET_SCHEMES = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}
_HTTP_SCHEMES = {"https": "https", "http": "http", "wss": "https", "ws": "http"}


class TrustedProxies:
    """Addresses whose headers count."""

    def __init__(self, allowed: str | Sequence[str]) -> None:
        """
        Args:
            allowed: addresses and networks, such as "10.0.0.0/8", in a sequence or with commas between; "*" trusts
                everybody; nothing trusts nobody.

        Raises:
            InvalidOption: it is something else.
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
            # A unix socket: who may write to it is a matter of its file.
            return bool(self._networks)
        try:
            address = ip_address(client)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def client(self, forwarded: Sequence[str]) -> str | None:
        """Of the addresses in `X-Forwarded-For`, the client's; None if there is none."""
        for address in reversed(forwarded):
            if address not in self:
                return address
        return forwarded[0] if forwarded else None


class Forwarded:
    """An ASGI app that tells another one of the client what trusted proxies say of it."""

    def __init__(self, app: Any, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            peer: Any = scope.get("client")
            if ((peer[0] or "") if peer else "") in self._trusted:
                scope = self._read(scope)
        await self._app(scope, receive, send)

    def _read(self, scope: Any) -> Any:
        addresses: list[str] = []
        scheme = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                addresses += [entry.strip() for entry in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                # Of several proxies the last one speaks last; the first one has seen the client.
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
