"""A browser without a screen: its cookies, and the requests of its pages."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any, cast

import trio

from ..asgi.page_secret import PAGE_ID
from ..asgi.tokens import new_token
from ..wire import PROOF_HEADER, START_HEADER
from ..wire_messages import Message
from .served_app import Chunk, Response, ServedApp

CALLBACKS = "_dash-update-component"
"""The route by which Dash's renderer calls callbacks."""


class Browser:
    """One profile of a browser: all its pages have the same cookies.

    Attributes:
        served: the app that it asks.
    """

    def __init__(self, served: ServedApp) -> None:
        self.served = served
        self._cookies: dict[str, str] = {}

    async def get(self, target: str, *, gone: trio.Event | None = None, chunk: Chunk | None = None) -> Response:
        """Send a GET. `gone` and `chunk` are those of `ServedApp.request`."""
        return await self._fetch("GET", target, {}, b"", gone=gone, chunk=chunk)

    async def post(self, message: Message, secret: str) -> Response:
        """Send what a page says, with the page's secret."""
        headers = {"content-type": "application/json", PROOF_HEADER: secret}
        return await self._fetch("POST", f"_flash/{message.route}", headers, message.encode())

    async def call(self, body: dict[str, Any], secret: str) -> Response:
        """Send the request that calls a callback."""
        headers = {"content-type": "application/json", PROOF_HEADER: secret}
        if names_page(body):
            headers[START_HEADER] = new_token()
        return await self._fetch("POST", CALLBACKS, headers, json.dumps(body, separators=(",", ":")).encode())

    async def _fetch(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
        *,
        gone: trio.Event | None = None,
        chunk: Chunk | None = None,
    ) -> Response:
        if self._cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if token := self._cookies.get(self.served.config.csrf_token_name):
            headers[self.served.config.csrf_header_name] = token
        response = await self.served.request(method, target, headers, body, gone=gone, chunk=chunk)
        for name, value in response.headers:
            if name == "set-cookie":
                self._cookies.update({each.key: each.value for each in SimpleCookie(value).values()})
        return response


def names_page(body: dict[str, Any]) -> bool:
    """Whether the request of a callback says which page sends it, as those do that start streams."""
    return PAGE_ID in [cast("dict[str, Any]", entry).get("id") for entry in body["state"] if isinstance(entry, dict)]
