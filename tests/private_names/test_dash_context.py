"""The context of a callback request has the entries that Dash itself would give it, over HTTP and by websocket."""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import importlib
from typing import Any, cast

import dash
import pytest
import trio

from flash import Flash, _dash, html

INPUT = {"id": "ask", "property": "n_clicks", "value": 3}
STATE = {"id": {"row": 1}, "property": "value", "value": [1, 2]}
BODIES: list[dict[str, Any]] = [
    {},
    {"inputs": [INPUT], "changedPropIds": ["ask.n_clicks"], "outputs": {"id": "answer", "property": "children"}},
    {"inputs": [[STATE, STATE], INPUT], "state": [STATE], "changedPropIds": ["ask.n_clicks", "gone.value"]},
]
HEADERS = {"Cookie": "one=1; two=2", "Origin": "http://localhost", "X-Own": "yes"}
PATH = "/_dash-update-component?cancelJob=1&cancelJob=2"


def make_app() -> Flash:
    app = Flash(__name__)
    app.layout = html.Div()
    return app


def contexts(app: Flash, body: dict[str, Any]) -> tuple[Any, Any]:
    """The context as Flash makes it, and as Dash does."""
    ours, dashs = cast("Any", app)._initialize_context(body), cast("Any", dash.Dash)._initialize_context(app, body)
    assert type(ours.dash_response) is type(dashs.dash_response)
    for context in (ours, dashs):
        del context["dash_response"]
    return ours, dashs


@pytest.mark.parametrize("body", BODIES)
def test_a_context_over_http_has_what_dash_gives_it(body: dict[str, Any]) -> None:
    app = make_app()

    async def compare() -> None:
        async with app.server.test_request_context(PATH, method="POST", headers=HEADERS):
            ours, dashs = contexts(app, body)
            assert dict(ours) == dict(dashs)
            assert list(ours.args.getlist("cancelJob")) == ["1", "2"]

    trio.run(compare)


def test_the_callbacks_of_a_websocket_have_what_its_handshake_says_and_none_what_another_has_changed() -> None:
    app = make_app()

    async def compare() -> None:
        async with app.server.test_request_context(PATH, method="POST", headers=HEADERS):
            _, dashs = contexts(app, BODIES[1])
            app.keep_handshake()
        for _ in range(2):
            ours = cast("Any", app)._initialize_context(BODIES[1])
            del ours["dash_response"]
            assert dict(ours) == dict(dashs)
            ours.headers.clear()
            ours.cookies.clear()
            ours.cookies = None

    trio.run(compare)


@pytest.mark.parametrize("touch", [True, False])
def test_the_response_of_a_callback_is_the_one_that_dash_makes(touch: bool) -> None:
    app = make_app()
    dashs = cast("Any", importlib.import_module("dash.backends._quart")).QuartResponseAdapter
    public = {name for name in dir(dashs) if not name.startswith("_")}
    assert public <= set(dir(app.backend.response_adapter))

    async def answer(adapter: Any) -> tuple[list[tuple[str, str]], bytes]:
        response = adapter()
        if touch:
            response.set_cookie("one", "1", max_age=5)
            response.append_header("X-Own", "a")
            response.append_header("X-Own", "b")
            response.set_header("X-Other", "c")
            assert response.callback_response.status_code == 200
        answered = response.set_response(data='{"multi":true}')
        headers = [(name, value.partition("; Expires")[0]) for name, value in answered.headers]
        return sorted(headers), await answered.get_data()

    async def compare() -> None:
        assert await answer(app.backend.response_adapter) == await answer(dashs)

    trio.run(compare)


def test_an_entry_of_a_context_is_an_attribute_and_an_item_as_in_dash() -> None:
    app = make_app()

    async def look() -> None:
        async with app.server.test_request_context(PATH, method="POST", headers=HEADERS):
            context, _ = contexts(app, {})
            assert isinstance(context, _dash.AttributeDict)
            context.one, context["two"] = 1, 2
            assert (context["one"], context.two, context.get("one"), context.first("three", "two")) == (1, 2, 1, 2)
            assert not hasattr(context, "three")
            assert dict(**context) == dict(context)

    trio.run(look)
