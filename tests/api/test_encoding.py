"""What is on the wire of an update is what Dash itself would have written."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import dash
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest
from hypothesis import given, settings, strategies as st

from flash import ALL, MATCH, InvalidUpdate, Patch, dcc, html, no_update, stream_props
from flash.dash_json import to_json
from flash.props import encode_pairs, resolve_match

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(),
    st.text(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.uuids().map(str),
    st.integers(-(2**31), 2**31).map(np.int64),
    st.floats(width=32).map(np.float32),
    st.booleans().map(np.bool_),
    st.lists(st.integers(-1000, 1000)).map(np.array),
    st.lists(st.floats(width=32)).map(lambda items: np.array(items, dtype="float32")),
    st.lists(st.floats(), max_size=4).map(pd.Series),
    st.datetimes(datetime.datetime(1980, 1, 1), datetime.datetime(2100, 1, 1)).map(pd.Timestamp),
    st.text().map(html.Div),
    st.lists(st.text(), max_size=2).map(lambda items: html.Ul([html.Li(item) for item in items], id="list")),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4).map(lambda y: go.Figure(go.Scatter(y=y))),
)

values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=8,
)

ids = st.one_of(
    names,
    st.dictionaries(names, st.one_of(st.text(), st.integers(-(2**53), 2**53), st.booleans()), min_size=1, max_size=3),
)

updates = st.lists(st.tuples(ids, st.dictionaries(names, values, min_size=1, max_size=3)), min_size=1, max_size=3)


def as_dash(value: Any) -> Any:
    """What Dash sends where there is no orjson, read back; of what it refuses then, what it sends where there is."""
    encode: Any = plotly.io.json.to_json_plotly  # Its own type allows for None.
    try:
        return json.loads(encode(value, engine="json"))
    except TypeError:
        return json.loads(encode(value, engine="orjson"))


def encoded(batch: Any) -> bytes:
    return encode_pairs(stream_props(batch=batch).pairs)


@settings(max_examples=200, deadline=None)
@given(updates)
def test_an_update_is_encoded_as_dash_would(batch: list[tuple[Any, Any]]) -> None:
    assert json.loads(b"[%b]" % encoded(batch)) == as_dash([list(pair) for pair in batch])


@settings(max_examples=50, deadline=None)
@given(updates)
def test_an_update_is_one_line_of_utf_8(batch: list[tuple[Any, Any]]) -> None:
    text = encoded(batch).decode()
    assert "\n" not in text
    assert "\r" not in text


def patched() -> Patch:
    patch = Patch()
    patch["layout"]["title"] = "new"
    patch["rows"].append({"n": np.int64(1)})
    del patch["old"]
    return patch


@pytest.mark.parametrize(
    "value",
    [
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
        pd.Timestamp("2024-02-29T12:30", tz="Europe/Berlin"),
        pd.NaT,
        float("nan"),
        float("inf"),
        np.nan,
        np.array([[1, 2], [3, 4]]),
        np.array([1.5, np.nan]),
        np.datetime64("2024-02-29"),
        np.arange(3, dtype="uint8"),
        pd.Series([1, 2], name="x"),
        pd.Index(["a", "b"]),
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}).to_dict("records"),
        pd.date_range("2024-01-01", periods=2),
        uuid.UUID(int=7),
        decimal.Decimal("1.5"),
        html.Div([html.B("bold", id={"type": "b", "index": 1}), None, 5], style={"color": "red"}),
        [dcc.Graph(figure=go.Figure(go.Bar(x=["a"], y=np.array([1])), layout={"title": "grüß"}))],
        go.Figure(go.Scatter(x=pd.date_range("2024-01-01", periods=3), y=np.array([1.0, np.nan, 3.0]))),
        patched(),
        "\u2028\u2029\x00\ud83d".encode("utf-8", "replace").decode(),
        "</script><!--",
        {"1": {"nested": [(), {}, []]}},
        {1: "keys that are numbers", None: "or None"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_dash_knows_are_encoded_as_dash_does(value: Any) -> None:
    try:
        expected = as_dash([["out", {"prop": value}]])
    except Exception:
        with pytest.raises(InvalidUpdate):
            encoded([("out", {"prop": value})])
    else:
        assert json.loads(b"[%b]" % encoded([("out", {"prop": value})])) == expected


def test_a_property_that_is_no_update_is_left_out() -> None:
    update = encoded([("a", {"x": 1, "y": no_update}), ("b", {"x": no_update}), ("c", {"x": 2})])
    assert json.loads(b"[%b]" % update) == [["a", {"x": 1}], ["c", {"x": 2}]]


@pytest.mark.parametrize("batch", [[], [("a", {})], [("a", {"x": no_update}), ("b", {"y": no_update})]])
def test_an_update_that_changes_nothing_is_nothing(batch: Any) -> None:
    assert encoded(batch) == b""


def test_a_wildcard_is_an_array_that_no_id_can_hold() -> None:
    update = encoded([({"type": "row", "index": ALL}, {"x": 1})])
    assert json.loads(b"[%b]" % update) == [[{"type": "row", "index": ["ALL"]}, {"x": 1}]]


def test_match_is_replaced_by_what_it_matched() -> None:
    pairs = resolve_match([({"type": "row", "index": MATCH}, {"x": 1}), ("a", {"x": 2})], {"index": 7})
    assert pairs == [({"type": "row", "index": 7}, {"x": 1}), ("a", {"x": 2})]


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 1, b"\xff", dash.Dash])
def test_a_value_that_is_not_json_is_named(value: Any) -> None:
    try:
        to_json(value)
    except Exception:
        with pytest.raises(InvalidUpdate, match=rf"'prop' of 'out' is a {type(value).__name__}"):
            encoded([("first", {"x": 1}), ("out", {"fine": 1, "prop": value})])
    else:
        assert encoded([("out", {"prop": value})])
