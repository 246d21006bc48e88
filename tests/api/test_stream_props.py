"""`stream_props`: its forms, and what it says when it is called in none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from flash import ALL, ALLSMALLER, MATCH, FlashError, InvalidUpdate, Patch, Update, html, no_update, stream_props

TYPED = {"type": "row", "index": 1}


def pairs(update: Update) -> list[tuple[Any, Any]]:
    assert isinstance(update, Update)
    return list(update.pairs)


def test_an_id_and_its_props() -> None:
    assert pairs(stream_props("out", {"children": 1, "title": "x"})) == [("out", {"children": 1, "title": "x"})]


def test_a_list_of_pairs() -> None:
    update = stream_props([("a", {"children": 1}), (TYPED, {"children": 2})])
    assert pairs(update) == [("a", {"children": 1}), (TYPED, {"children": 2})]


def test_a_batch() -> None:
    assert pairs(stream_props(batch=[("a", {"children": 1}), ("b", {})])) == [("a", {"children": 1}), ("b", {})]


def test_a_component_and_its_props() -> None:
    component = html.Div(id="out")
    assert pairs(stream_props(component, {"children": 1})) == [("out", {"children": 1})]


def test_a_component_without_an_id_is_given_the_one_that_dash_gives() -> None:
    component = html.Div()
    [(given, _)] = pairs(stream_props(component, {"children": 1}))
    assert given == component.id  # pyright: ignore[reportAttributeAccessIssue] - a prop
    assert pairs(stream_props([(component, {})])) == [(given, {})]


def test_ids_are_strings_or_dicts_with_or_without_wildcards() -> None:
    assert pairs(stream_props(TYPED, {"a": 1})) == [(TYPED, {"a": 1})]
    assert pairs(stream_props({"type": "row", "index": ALL}, {"a": 1})) == [({"type": "row", "index": ALL}, {"a": 1})]
    assert pairs(stream_props({"a": 1.5, "b": True}, {"a": 1})) == [({"a": 1.5, "b": True}, {"a": 1})]


def test_any_iterable_of_pairs_will_do() -> None:
    assert len(pairs(stream_props((f"row-{n}", {"children": n}) for n in range(3)))) == 3
    assert len(pairs(stream_props(batch=iter([cast("Any", ["a", {"children": 1}])])))) == 1
    assert pairs(stream_props([])) == pairs(stream_props(batch=())) == []


def test_an_update_is_what_it_was_when_it_was_made() -> None:
    props = {"children": 1}
    batch = [("a", props)]
    update = stream_props(batch)
    batch.append(("b", {}))
    props["children"] = 2
    assert pairs(update) == [("a", {"children": 1})]


def test_an_update_shows_how_it_was_made() -> None:
    assert repr(stream_props("out", {"children": 1})) == "stream_props([('out', {'children': 1})])"


untyped_stream_props: Any = stream_props
"""`stream_props` as code that no type checker has read calls it."""

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: untyped_stream_props(), "no component id"),
    "an id alone": (lambda: untyped_stream_props("out"), "'out'"),
    "a dict alone": (lambda: untyped_stream_props({"type": "x"}), "'type'"),
    "a component alone": (lambda: untyped_stream_props(html.Div(id="out")), "out"),
    "an empty id": (lambda: untyped_stream_props("", {"children": 1}), "''"),
    "an empty dict": (lambda: untyped_stream_props({}, {"children": 1}), "{}"),
    "a number": (lambda: untyped_stream_props(5, {"children": 1}), "5"),
    "a number alone": (lambda: untyped_stream_props(5), "5"),
    "MATCH": (lambda: untyped_stream_props({"index": MATCH}, {"children": 1}), "MATCH"),
    "ALLSMALLER": (lambda: untyped_stream_props({"index": ALLSMALLER}, {"children": 1}), "ALLSMALLER"),
    "a list in an id": (lambda: untyped_stream_props({"index": [1]}, {"children": 1}), r"\[1\]"),
    "None in an id": (lambda: untyped_stream_props({"index": None}, {"children": 1}), "None"),
    "a key that is no string": (lambda: untyped_stream_props({1: "x"}, {"children": 1}), "1"),
    "a value for props": (lambda: untyped_stream_props("out", "hello"), "'hello'"),
    "pairs for props": (lambda: untyped_stream_props("out", [("children", 1)]), "children"),
    "a prop that is no string": (lambda: untyped_stream_props("out", {1: 2}), "1"),
    "an empty prop": (lambda: untyped_stream_props("out", {"": 2}), "''"),
    "a batch and an id": (lambda: untyped_stream_props("out", {"children": 1}, batch=[]), "batch="),
    "a batch that is a dict": (lambda: untyped_stream_props(batch={"out": {"children": 1}}), "batch="),
    "a batch that is a string": (lambda: untyped_stream_props(batch="out"), "batch="),
    "a batch that is one pair": (lambda: untyped_stream_props(batch=("out", {"children": 1})), "'out'"),
    "a batch of triples": (lambda: untyped_stream_props(batch=[("out", "children", 1)]), "'children'"),
    "a batch of strings": (lambda: untyped_stream_props(batch=["ab"]), "'ab'"),
    "a pair without props": (lambda: untyped_stream_props([("out", None)]), "None"),
    "a pair without an id": (lambda: untyped_stream_props([(None, {"children": 1})]), "None"),
    "no update": (lambda: untyped_stream_props(no_update, {"children": 1}), "NoUpdate"),
}


@pytest.mark.parametrize(("call", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_call_is_told_what_was_wrong_and_what_is_right(call: Callable[[], Any], named: str) -> None:
    with pytest.raises(InvalidUpdate, match=named) as caught:
        call()
    assert isinstance(caught.value, FlashError)
    assert "stream_props" in str(caught.value)
    assert len(str(caught.value)) < 500


def patch(value: int) -> Patch:
    made = Patch()
    made["rows"].append(value)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda: stream_props("out", {"children": 0, "title": "x"}),
        lambda: stream_props([("a", {"children": html.B("bold")}), (TYPED, {"data": [1.5, None]})]),
        lambda: stream_props({"type": "row", "index": ALL}, {"children": no_update}),
        lambda: stream_props("out", {"data": np.array([1.0, np.nan])}),
        lambda: stream_props("out", {"data": pd.DataFrame({"a": [1, 2]}).to_dict("records")}),
        lambda: stream_props("out", {"figure": patch(1)}),
        lambda: stream_props([]),
    ],
)
def test_updates_that_say_the_same_are_equal(make: Callable[[], Update]) -> None:
    assert make() == make()
    assert make() != stream_props("out", {"children": "something else"})
    assert repr(make()) == repr(make())


def test_updates_that_do_not_say_the_same_are_not_equal() -> None:
    assert stream_props("out", {"children": 1}) == stream_props("out", {"children": 1.0})
    assert stream_props("out", {"children": 1}) != stream_props("out", {"children": True})
    assert stream_props("out", {"children": 1}) != stream_props("out2", {"children": 1})
    assert stream_props("out", {"figure": patch(1)}) != stream_props("out", {"figure": patch(2)})
    assert stream_props([("a", {"x": 1}), ("b", {"x": 1})]) != stream_props([("b", {"x": 1}), ("a", {"x": 1})])
    assert stream_props("out", {"children": 1}) != [("out", {"children": 1})]
    assert (stream_props("out", {"children": object()}) == stream_props("out", {"children": 1})) is False


def test_an_update_has_no_hash_for_what_is_in_it_may_change() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(stream_props("out", {"children": 1}))


def test_an_update_prints_as_it_is_written_and_tells_what_a_patch_does() -> None:
    assert repr(stream_props("out", {"children": "a"})) == "stream_props([('out', {'children': 'a'})])"
    assert "Patch([{'operation': 'Append', 'location': ['rows'], 'params': {'value': 1}}])" in repr(
        stream_props("out", {"figure": patch(1)})
    )
