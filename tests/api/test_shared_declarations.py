"""What `shared=`, `linger=` and `resume=` refuse when an event callback is declared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from flash import MATCH, Flash, Input, InvalidEventCallback, Output, Update, stream_props


def declare(**options: Any) -> None:
    app = Flash(__name__)

    @app.event_callback(Input("go", "n_clicks"), **options)
    async def live(clicks: int, **more: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})


@pytest.mark.parametrize(
    "options",
    [
        {"shared": "all"},
        {"shared": "browser", "linger": 5, "resume": True},
        {"shared": lambda request: "", "linger": 0.5},
    ],
)
def test_what_can_be_shared_is(options: dict[str, Any]) -> None:
    declare(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shared": "everybody"}, '"all", "browser" or a function of the request, got \'everybody\''),
        ({"shared": 1}, '"all", "browser" or a function'),
        ({"shared": lambda: ""}, "called with one argument, the request"),
        ({"shared": "all", "linger": -1}, "linger of .* is to be .*, got -1"),
        ({"shared": "all", "linger": "long"}, "linger of"),
        ({"shared": "all", "resume": 1}, "resume of .* is to be True or False"),
        ({"resume": True}, "resume= of .* is for shared streams"),
        ({"linger": 5}, "linger= of .* is for shared streams"),
        ({"shared": "all", "watch": {"speed": Input("speed", "value")}}, "has watch= and shared="),
    ],
)
def test_what_cannot_be_shared_is_refused_with_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidEventCallback, match=message):
        declare(**options)


def test_a_function_may_give_the_generator_keywords_that_the_inputs_do_not() -> None:
    app = Flash(__name__)

    @app.event_callback(Input("go", "n_clicks"), shared=lambda request: {"user": "ada"})
    async def live(clicks: int, *, user: str) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": user})

    with pytest.raises(InvalidEventCallback, match="does not take"):

        @app.event_callback(Input("go", "n_clicks"), shared=lambda request: {"user": "ada"})
        async def nothing(*, user: str) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": user})

    with pytest.raises(InvalidEventCallback, match="does not take"):

        @app.event_callback(Input("go", "n_clicks"), shared="all")
        async def all_of_them(clicks: int, *, user: str) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": user})


@pytest.mark.parametrize("option", ["shared", "linger", "resume"])
def test_a_callback_that_returns_its_result_cannot_be_shared(option: str) -> None:
    app = Flash(__name__)
    with pytest.raises(InvalidEventCallback, match=f"{option}= of .* is for streaming callbacks"):

        @app.callback(Output("out", "children"), Input("go", "n_clicks"), **{option: "all"})
        def result(clicks: int) -> int:
            return clicks


def test_a_page_cannot_resume_what_match_has_matched() -> None:
    app = Flash(__name__)
    with pytest.raises(InvalidEventCallback, match="has MATCH in its Inputs and resume=True"):

        @app.event_callback(Input({"n": MATCH}, "n_clicks"), shared="all", resume=True)
        async def live(clicks: int) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": clicks})
