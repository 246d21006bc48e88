"""The arguments of `app.end_streams`: what they stand for, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st

from flash import Flash, Input, InvalidOption, Update, html, stream_props
from flash.event_callbacks import EventCallback
from flash.server import revoking
from flash.server.revoking import Selection, name_of
from flash.streams.limits import StreamInfo

VALUES = {"state": "running", "age": 1.0, "updates": 2, "buffered": 3, "waiting": None}


def info(number: int = 1, callback: str = "job", key: str = "_flash-job", page: str = "p1", user: str | None = "ada"):
    return StreamInfo(id=f"life-{number}", callback=callback, key=key, page=page, user=user, **VALUES)  # pyright: ignore[reportArgumentType]


def app_with_job() -> tuple[Flash, EventCallback[..., Any]]:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def job(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    return app, job


infos = st.lists(
    st.builds(
        info,
        st.integers(1, 5),
        st.sampled_from(["job", "other"]),
        st.sampled_from(["_flash-job", '_flash-job {"a":1}', "_flash-job-2"]),
        st.sampled_from(["p1", "p2"]),
        st.sampled_from([None, "ada", "eve"]),
    )
)


@given(
    infos,
    st.sampled_from([None, "job"]),
    st.sampled_from([None, "_flash-job"]),
    st.sampled_from([None, "p1"]),
    st.sampled_from([None, "ada"]),
    st.sets(st.integers(1, 5)),
)
def test_other_workers_end_what_this_one_would(
    streams: list[StreamInfo],
    callback: str | None,
    callback_id: str | None,
    page: str | None,
    user: str | None,
    numbers: set[int],
) -> None:
    selection = Selection(callback=callback, callback_id=callback_id, page=page, user=user)
    expected = [
        each
        for each in streams
        if callback in (None, each.callback)
        and (callback_id is None or each.key in ("_flash-job", '_flash-job {"a":1}'))
        and page in (None, each.page)
        and user in (None, each.user)
    ]
    assert [each for each in streams if selection.fits(each)] == expected
    narrowed = selection.narrowed(lambda each: int(each.id[-1]) in numbers, streams)
    decoded, why = Selection.decode(narrowed.encode("because"))
    assert (decoded, why) == (narrowed, "because")
    assert [each for each in streams if decoded.fits(each)] == [
        each for each in expected if int(each.id[-1]) in numbers
    ]


def test_where_is_asked_only_about_streams_that_the_rest_fits() -> None:
    asked: list[StreamInfo] = []
    Selection(user="ada").narrowed(asked.append, [info(1), info(2, user="eve")])
    assert asked == [info(1)]


def test_many_streams_are_named_in_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "NAMES_AT_ONCE", 2)
    streams = [info(number) for number in range(5)]
    selection = Selection(user="ada").narrowed(lambda each: True, streams)
    parts = [part.names or frozenset[str]() for part in selection.parts()]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert frozenset[str]().union(*parts) == {name_of(each) for each in streams}
    assert list(Selection(user="ada").parts()) == [Selection(user="ada")]
    assert list(selection.narrowed(lambda each: False, streams).parts()) == []


def test_an_event_callback_and_its_name_are_known() -> None:
    app, job = app_with_job()
    assert app.end_streams(job) == app.end_streams("app_with_job.job") == 0
    assert trio.run(app.end_all_streams, job) == 0
    cast_app: Any = app
    cast_app._prepare_for_requests()
    assert app.end_streams(job) == 0, "it is the app's after set-up as well"


@pytest.mark.parametrize("callback", ["jobs", 5, len, Flash])
def test_what_is_no_event_callback_of_the_app_is_refused(callback: Any) -> None:
    app, _ = app_with_job()
    with pytest.raises(InvalidOption, match=r"event callback of this app or its name, got .* are: 'app_with_job.job'"):
        app.end_streams(callback)


def test_an_event_callback_of_another_app_is_refused() -> None:
    (app, _), (_, job) = app_with_job(), app_with_job()
    with pytest.raises(InvalidOption, match="event callback of this app"):
        app.end_streams(job)


async def asynchronous(stream: StreamInfo) -> bool:
    return False


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "was not told which streams to end"),
        ({"user": None, "why": "logged out"}, "was not told which streams to end.*where=lambda info: True"),
        ({"user": 7}, "user= of app.end_streams is to be a string, got 7"),
        ({"page": b"p1"}, "page= of app.end_streams is to be a string"),
        ({"user": "ada", "why": None}, "why= of app.end_streams is to be a string"),
        ({"where": "ada"}, "where= of app.end_streams is to be a plain function"),
        ({"where": asynchronous}, "where= of app.end_streams is to be a plain function"),
        ({"where": lambda: True}, r"where= of app.end_streams is called with one argument.*parameters \(\)"),
    ],
)
def test_arguments_that_do_not_say_what_is_meant_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    app, _ = app_with_job()
    with pytest.raises(InvalidOption, match=sentence):
        app.end_streams(**arguments)
    with pytest.raises(InvalidOption, match=sentence):
        trio.run(lambda: app.end_all_streams(**arguments))


def test_a_function_that_turns_out_to_be_async_is_refused() -> None:
    with pytest.raises(InvalidOption, match="returned a coroutine"):
        Selection().narrowed(lambda each: asynchronous(each), [info()])
