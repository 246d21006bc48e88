"""A layout looks the same whether or not the app has hidden components beside it."""

from __future__ import annotations

from typing import Any

import pytest

from flash import Flash, Input, html, stream_props
from tests.browser.conftest import Visit

STYLES = """
html, body, #react-entry-point { height: 100%; margin: 0 }
#react-entry-point > div { display: flex; flex-direction: column; height: 100% }
#react-entry-point > :last-child { outline: 3px solid red }
main { flex: 1 } header, footer { height: 40px }
"""
MEASURE = """() => {
    const seen = [];
    for (const found of document.querySelectorAll('#react-entry-point, #react-entry-point *')) {
        const {x, y, width, height} = found.getBoundingClientRect();
        seen.push([found.tagName, found.id, x, y, width, height, getComputedStyle(found).outlineStyle]);
    }
    return seen;
}"""


def full_height() -> Any:
    return html.Div([html.Header("top"), html.Main("all that is left"), html.Footer("bottom")], id="shell")


LAYOUTS = {
    "a component": full_height,
    "a component with a height of its own": lambda: html.Div("x", id="shell", style={"height": "100%"}),
    "a list": lambda: [html.Header("top"), full_height()],
    "a list with text": lambda: ["text", html.P("x", id="shell")],
    "a tuple": lambda: (html.P("x", id="shell"), html.P("y")),
}


def measured(visit: Visit, layout: Any, streams: bool) -> Any:
    app = Flash(__name__)
    app.index_string = app.index_string.replace("{%css%}", f"{{%css%}}<style>{STYLES}</style>")
    app.layout = layout
    if streams:

        @app.event_callback(Input("shell", "n_clicks"))
        async def change(clicks: int):
            yield stream_props("shell", {"children": f"clicked {clicks}"})

    page = visit(app)
    page.wait_for_selector("#shell")
    seen = page.evaluate(MEASURE)
    if streams:
        page.click("#shell")
        page.wait_for_function("document.querySelector('#shell').innerText === 'clicked 1'")
    return seen


@pytest.mark.parametrize("as_function", [False, True], ids=["itself", "from a function"])
@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_an_event_callback_does_not_change_the_look_of_a_layout(visit: Visit, make: Any, as_function: bool) -> None:
    without = measured(visit, make if as_function else make(), streams=False)
    assert measured(visit, make if as_function else make(), streams=True) == without
    assert len(without) > 1
