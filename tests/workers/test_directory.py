"""Which worker holds a browser: the table of claims, without any I/O."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from flash.workers.directory import Claims, Holder, browser_key


@pytest.fixture
def claims() -> Claims:
    """The claims of three workers."""
    claims = Claims()
    for name in ("1", "2", "3"):
        claims.join(name, f"/run/{name}")
    return claims


def test_the_first_claim_makes_its_worker_the_holder_and_later_ones_are_told_so(claims: Claims) -> None:
    assert claims.claim("a", "2") == Holder("2", "/run/2", here=True)
    assert claims.claim("a", "1") == Holder("2", "/run/2", here=False)
    assert claims.claim("a", "2") == Holder("2", "/run/2", here=True)
    assert len(claims) == 1


def test_a_browser_that_was_given_up_is_held_by_whoever_claims_it_next(claims: Claims) -> None:
    claims.claim("a", "2")
    claims.give_up("a", "2")
    assert len(claims) == 0
    assert claims.claim("a", "3") == Holder("3", "/run/3", here=True)


def test_only_the_holder_can_give_a_browser_up(claims: Claims) -> None:
    claims.claim("a", "2")
    claims.give_up("a", "1")
    claims.give_up("b", "1")
    assert claims.claim("a", "1") == Holder("2", "/run/2", here=False)


def test_a_worker_that_leaves_loses_its_browsers_and_no_other_does(claims: Claims) -> None:
    claims.claim("a", "1")
    claims.claim("b", "1")
    claims.claim("c", "2")
    claims.leave("1")
    assert claims.claim("a", "3") == Holder("3", "/run/3", here=True)
    assert claims.claim("b", "2") == Holder("2", "/run/2", here=True)
    assert claims.claim("c", "3") == Holder("2", "/run/2", here=False)


def test_a_worker_that_takes_the_name_of_a_dead_one_holds_nobody(claims: Claims) -> None:
    claims.claim("a", "1")
    claims.join("1", "/run/another")
    assert len(claims) == 0
    assert claims.claim("a", "1") == Holder("1", "/run/another", here=True)


def test_a_stopping_worker_gets_nobody_new_and_keeps_what_it_has(claims: Claims) -> None:
    claims.claim("a", "1")
    claims.stop("1")
    assert claims.claim("b", "1") is None
    assert claims.claim("a", "2") == Holder("1", "/run/1", here=False)
    claims.claim("c", "2")
    assert claims.claim("c", "1") == Holder("2", "/run/2", here=False)


def test_a_worker_that_does_not_take_part_gets_nobody(claims: Claims) -> None:
    claims.leave("1")
    claims.stop("1")
    assert claims.claim("a", "1") is None


def test_workers_are_listed_in_the_order_of_their_numbers(claims: Claims) -> None:
    claims.join("10", "host:1")
    assert [(worker.name, worker.here) for worker in claims.workers("2")] == [
        ("1", False),
        ("2", True),
        ("3", False),
        ("10", False),
    ]


def test_the_key_of_a_browser_does_not_give_its_secret_away() -> None:
    assert browser_key("secret") == browser_key("secret") != browser_key("another")
    assert "secret" not in browser_key("secret")


WORKERS = st.sampled_from("123")
STEPS = st.tuples(st.sampled_from(["claim", "give_up", "join", "leave", "stop"]), WORKERS, st.sampled_from("ab"))


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=40))
def test_a_browser_has_one_holder_at_most_whatever_happens(steps: list[tuple[str, str, str]]) -> None:
    claims = Claims()
    model: dict[str, str] = {}
    present: set[str] = set()
    stopping: set[str] = set()
    for step, worker, browser in steps:
        if step in ("join", "leave"):
            model = {held: holder for held, holder in model.items() if holder != worker}
            stopping.discard(worker)
            if step == "join":
                present.add(worker)
                claims.join(worker, worker)
            else:
                present.discard(worker)
                claims.leave(worker)
        elif step == "stop":
            claims.stop(worker)
            stopping |= {worker} & present
        elif step == "give_up":
            claims.give_up(browser, worker)
            if model.get(browser) == worker:
                del model[browser]
        else:
            if worker in present - stopping:
                model.setdefault(browser, worker)
            holder = claims.claim(browser, worker)
            assert (holder.name if holder else None) == model.get(browser)
        assert len(claims) == len(model)
