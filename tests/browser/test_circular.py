"""A property may be Input and Output of one streaming callback: its results do not call it again."""

from __future__ import annotations

import pytest
import trio
from playwright.sync_api import expect

from flash import MATCH, Flash, Input, Output, ctx, dcc, html, no_update
from tests.browser.conftest import Visit
from tests.support.serving import Journal


@pytest.mark.parametrize("conflate", [False, True])
def test_two_boxes_are_kept_in_step_by_one_run_for_each_change(visit: Visit, conflate: bool) -> None:
    app = Flash(__name__)
    app.layout = [dcc.Input(id="a", value=""), dcc.Input(id="b", value=""), html.P(id="state"), html.P(id="other")]
    runs = Journal[str]()

    @app.callback(
        Output("a", "value"),
        Output("b", "value"),
        Output("state", "children"),
        Input("a", "value"),
        Input("b", "value"),
        prevent_initial_call=True,
        conflate=conflate,
    )
    async def keep_in_step(a: str, b: str):
        value = a if ctx.triggered_id == "a" else b
        runs.note(value)
        yield no_update, no_update, "working"
        await trio.lowlevel.checkpoint()
        yield value + "!", value + "!", f"done {value}"

    @app.callback(Output("other", "children"), Input("a", "value"))
    def other(a: str) -> str:
        return f"other: {a}"

    page = visit(app)
    for box, typed in (("#a", "x"), ("#b", "y"), ("#a", "z")):
        page.fill(box, typed)
        expect(page.locator("#state")).to_have_text(f"done {typed}")
        expect(page.locator("#a")).to_have_value(f"{typed}!")
        expect(page.locator("#b")).to_have_value(f"{typed}!")
        # Others are called as always.
        expect(page.locator("#other")).to_have_text(f"other: {typed}!")
    assert [runs.next(), runs.next(), runs.next(), *runs.rest()] == ["x", "y", "z"]


def test_a_change_of_the_users_starts_it_again_while_it_runs(visit: Visit) -> None:
    app = Flash(__name__)
    box = {"type": "box", "index": 1}
    app.layout = [dcc.Input(id=box, value="", debounce=False), html.P(id={"type": "state", "index": 1})]
    runs = Journal[str]()

    @app.callback(
        Output({"type": "box", "index": MATCH}, "value"),
        Output({"type": "state", "index": MATCH}, "children"),
        Input({"type": "box", "index": MATCH}, "value"),
        prevent_initial_call=True,
    )
    async def normalise(text: str):
        runs.note(text)
        yield text.upper(), f"shown {text}"
        await trio.sleep_forever()

    page = visit(app)
    field, state = page.locator("input"), page.locator("p")
    field.fill("one")
    expect(field).to_have_value("ONE")
    expect(state).to_have_text("shown one")
    field.fill("two")
    expect(field).to_have_value("TWO")
    expect(state).to_have_text("shown two")
    assert [runs.next(), runs.next(), *runs.rest()] == ["one", "two"]
