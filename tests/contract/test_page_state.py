"""What a page that joins a shared stream late is given: what one shows that has followed from the start."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from flash.props import encode_shared, encoder, stream_props
from flash.shared.memory import NOTHING
from flash.shared.page_state import CHUNK, PageState
from flash.streams.events import SharedUpdate
from tests.contract.pretend_sharing import KINDS, Shown, a_kind_of_update, append

encode = encoder("test", None, encode_shared, SharedUpdate(b"", []))


def a_state(bound: int = 1_000_000) -> PageState:
    return PageState("test", encode, bound, lambda: None)


def show(shown: Shown, encoded: Iterable[bytes]) -> None:
    for pairs in encoded:
        shown.apply(json.loads(b"[%b]" % pairs))


def follow(kinds: Sequence[str], joins_after: int, bound: int = 1_000_000) -> tuple[Shown, Shown | None]:
    """What two pages show in the end: one from the start, and one that joins after so many updates, if it may."""
    state, first, late = a_state(bound), Shown(), None
    for number, kind in enumerate(kinds):
        if number == joins_after and state.refusal is None:
            late = Shown()
            show(late, state.given())
        update = state.take(a_kind_of_update(kind, number))
        assert isinstance(update, SharedUpdate)
        for shown in filter(None, (first, late)):
            show(shown, [update.pairs])
    if joins_after >= len(kinds) and state.refusal is None:
        late = Shown()
        show(late, state.given())
    return first, late


@given(st.lists(st.sampled_from(KINDS), max_size=30), st.integers(0, 30))
@settings(max_examples=600, deadline=None)
def test_who_joins_late_shows_what_a_page_shows_that_followed_from_the_start(
    kinds: list[str], joins_after: int
) -> None:
    first, late = follow(kinds, joins_after)
    assert late == first


@given(st.lists(st.sampled_from(KINDS), max_size=60), st.integers(0, 60), st.integers(50, 900))
@settings(max_examples=600, deadline=None)
def test_who_may_join_a_state_that_was_too_large_shows_the_same_and_nobody_gets_a_gap(
    kinds: list[str], joins_after: int, bound: int
) -> None:
    first, late = follow(kinds, joins_after, bound)
    assert late is None or late == first


@given(st.lists(st.sampled_from(KINDS), max_size=60), st.integers(50, 900))
@example(["all", "patch in box", "mixed"], 437)
@settings(deadline=None)
def test_the_state_never_exceeds_its_bound(kinds: list[str], bound: int) -> None:
    state = a_state(bound)
    for number, kind in enumerate(kinds):
        state.take(a_kind_of_update(kind, number))
        given = state.given()
        # The commas between pairs do not count.
        pairs = sum(len(json.loads(b"[" + part + b"]")) for part in given)
        assert sum(map(len, given)) <= bound + pairs


def test_what_adds_up_beyond_the_bound_refuses_joiners_until_there_is_a_whole_value_again() -> None:
    state = a_state(bound=1_000)
    state.take(stream_props("text", {"children": "kept"}))
    while state.refusal is None:
        state.take(stream_props("list", {"children": append("x" * 100)}))
    assert "'test' was not started" in state.refusal
    assert "1000 bytes" in state.refusal
    state.take(stream_props("list", {"children": append("more")}))
    assert state.refusal is not None
    state.take(stream_props("list", {"children": ["anew"]}))
    state.take(stream_props("list", {"children": append("more")}))
    assert state.refusal is None
    joined = Shown()
    show(joined, state.given())
    assert [component["props"]["children"] for component in joined.layout[:2]] == ["kept", ["anew", "more"]]


def test_whole_values_that_are_too_large_together_refuse_joiners_for_good() -> None:
    state = a_state(bound=1_000)
    for number in range(20):
        state.take(stream_props({"n": number}, {"children": "x" * 100}))
    assert state.refusal is not None
    state.take(stream_props("text", {"children": ""}))
    assert state.refusal is not None
    assert state.given() == []


def test_a_whole_value_takes_the_place_of_what_was_added_to_the_older_one() -> None:
    state = a_state()
    for kinds in (["figure", "extend", "extend"], ["rows", "add row"], ["list", "patch"]):
        for _ in range(2):
            for number, kind in enumerate(kinds):
                state.take(a_kind_of_update(kind, number))
    [given] = state.given()
    assert len(json.loads(b"[%b]" % given)) == 3 + 2 + 2


def test_all_who_join_before_the_next_update_are_given_the_same_bytes_in_events_of_a_moderate_size() -> None:
    state = a_state()
    for number in range(100):
        state.take(stream_props("list", {"children": append("x" * 1_000 + str(number))}))
    given = state.given()
    assert state.given() is given
    assert len(given) > 1
    assert max(map(len, given)) <= CHUNK + 1_000
    state.take(stream_props("text", {"children": "news"}))
    assert state.given() is not given


@pytest.mark.parametrize("value", [stream_props([]), None], ids=["no pairs", "None"])
def test_followers_are_given_nothing_of_an_update_that_says_nothing(value: Any) -> None:
    nones: list[None] = []
    state = PageState("test", encode, 1_000, lambda: nones.append(None))
    assert state.take(value) is NOTHING
    assert state.given() == []
    assert len(nones) == (value is None)
