"""When the value of a property is the desired one: when both are the same JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flash.cancel_scopes import json_equal

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (0, 0.0),
        (0, -0.0),
        (None, None),
        (True, True),
        (False, False),
        ("", ""),
        ([], ()),
        ((1, 2), [1.0, 2]),
        ({}, {}),
        ({"a": 1, "b": [None]}, {"b": (None,), "a": 1.0}),
    ],
    ids=repr,
)
def test_the_same_json_is_equal(left: Any, right: Any) -> None:
    assert json_equal(left, right) is True
    assert json_equal(right, left) is True


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        (1.0, True),
        (0.0, False),
        (None, False),
        (None, 0),
        (None, ""),
        (None, []),
        ("1", 1),
        ("", []),
        ("ab", ["a", "b"]),
        ([], {}),
        ([1], [True]),
        ([1], [1, 1]),
        ([1, 2], [2, 1]),
        ([None], []),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ({"a": 1}, {"b": 1}),
        ({"a": [0]}, {"a": [False]}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, ["a"]),
    ],
    ids=repr,
)
def test_other_json_is_not_equal(left: Any, right: Any) -> None:
    assert json_equal(left, right) is False
    assert json_equal(right, left) is False


@given(json_values)
def test_a_value_is_equal_to_what_comes_back_of_it(value: Any) -> None:
    assert json_equal(value, json.loads(json.dumps(value)))


@given(json_values, json_values)
def test_equality_goes_both_ways(left: Any, right: Any) -> None:
    assert json_equal(left, right) == json_equal(right, left)


@given(json_values, json_values)
def test_what_is_written_alike_is_equal_and_what_is_equal_is_written_alike_but_for_numbers(
    left: Any, right: Any
) -> None:
    def canonical(value: Any) -> Any:
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, list):
            return [canonical(item) for item in value]
        if isinstance(value, dict):
            return {key: canonical(item) for key, item in value.items()}
        return value

    assert json_equal(left, right) == (canonical(left) == canonical(right))
