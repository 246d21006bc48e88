"""Turns a `RequestRefused` into a response, and refuses requests that no page of the app sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import Quart, request
from quart_trio.wrappers import TrioResponse as Response

from ..errors import RequestRefused
from .origins import refuse_other_sites


def answer_refusal(refusal: RequestRefused) -> Response:
    """The response to a refused request: the status and the sentence of `refusal`, as plain text."""
    return Response(str(refusal), status=refusal.status, content_type="text/plain; charset=utf-8")


def answer_refused_handshake(refusal: RequestRefused) -> Response:
    """The response to a refused handshake of a websocket, which closes its connection.

    Hypercorn cannot read another request on a connection whose handshake was refused.
    """
    response = answer_refusal(refusal)
    response.headers["Connection"] = "close"
    return response


def add_route(server: Quart, path: str, method: str, view: Callable[[], Awaitable[Response]]) -> None:
    """Add a route that refuses other methods and pages of other sites, and answers each RequestRefused.

    Args:
        server: has the route from now on.
        path: of the route, with its prefix. The view reads from the request what its variables have matched.
        method: the one HTTP method that it allows, GET or POST.
        view: answers the current request; may raise RequestRefused.
    """

    async def answer(**_: str) -> Response:
        try:
            if request.method != method:
                raise RequestRefused(405, f"{request.method} is not allowed here: use {method}.")
            refuse_other_sites(request)
            return await view()
        except RequestRefused as refusal:
            return answer_refusal(refusal)

    # Both methods lead here, and `answer` refuses one. Dash's catch-all would answer that one with a page.
    server.add_url_rule(path, endpoint=path, view_func=answer, methods=["GET", "POST"])
