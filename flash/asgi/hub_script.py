"""Serves the script of the hub, the browser's SharedWorker that holds one link for all pages of an app.

A browser runs one hub for each address of its script. So the address has a hash of the content: after a deploy the
pages of before keep their hub, and new pages get a new one. The script is several files one after another, since
nothing loads files for a worker: what the pages have as well (`SHARED`), and the hub's own (`OWN`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from quart import Quart, request
from quart_trio.wrappers import TrioResponse as Response

from ..errors import RequestRefused
from .refusals import add_route

CLIENT = Path(__file__).parents[1] / "client"

SHARED = ("wire.js", "reconnect.js")
"""Scripts of the page that the hub uses."""

OWN = ("hub_pages.js", "hub.js")
"""The scripts of the hub."""

_BEGINNING = "// Scripts of a page know its global object as `window`.\nself.window = self;\nself.flash = {};\n"


@cache
def content() -> bytes:
    """The script of the hub."""
    files = [(CLIENT / name).read_text(encoding="utf-8") for name in (*SHARED, *OWN)]
    return "\n".join([_BEGINNING, *files]).encode()


@cache
def name() -> str:
    """The last part of the address of the script."""
    return f"hub-{hashlib.sha256(content()).hexdigest()[:12]}.js"


def register(server: Quart, prefix: str) -> None:
    """Add the route of the script to `server` under `prefix`, which ends in a slash.

    A page of another version asks for another address, is answered with 404, and does without a hub.
    """

    async def serve() -> Response:
        if request.path.rpartition("/")[2] != name():
            raise RequestRefused(404, "This server has another version of the hub: load the page again.")
        response = Response(content(), content_type="text/javascript; charset=utf-8")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    add_route(server, f"{prefix}_flash/hub-<version>.js", "GET", serve)
