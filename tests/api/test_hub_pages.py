"""What a hub passes on to its pages while its links overlap, and what it asks a new link for: `client/hub_pages.js`.

The script runs in Node.js, which is given a list of what happens and answers with what the hub would tell its pages.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import flash
from flash.wire import Standing

CLIENT = Path(flash.__file__).parent / "client"

SCRIPT = """
globalThis.window = globalThis;
globalThis.flash = {};
process.argv.slice(1).forEach(path => require(path));
const pages = new globalThis.flash.HubPages();
const steps = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const done = steps.map(([method, ...rest]) => {
    const value = pages[method](...rest);
    return value instanceof URLSearchParams ? [...value] : value ?? null;
});
process.stdout.write(JSON.stringify(done));
"""

Step = list[Any]


def run(*steps: Step) -> list[Any]:
    """What each call of a method of `HubPages` returns."""
    node = shutil.which("node")
    assert node is not None, "Node.js runs this test, as it runs the type checker of the scripts."
    command = [node, "-e", SCRIPT, str(CLIENT / "wire.js"), str(CLIENT / "hub_pages.js")]
    done = subprocess.run(command, input=json.dumps(steps), capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def carry(page: str, last: str = "", turn: int = 1, ticket: str | None = None) -> Step:
    return ["carry", {"page": page, "turn": turn, "last": last, "ticket": ticket}]


def event(link: int, name: str, id: str = "", **data: Any) -> Step:
    return ["receive", link, {"type": name, "data": json.dumps(data), "lastEventId": id}]


def hello(link: int, page: str, life: str, number: int = 0) -> Step:
    return event(link, "hello", f"{life}.{number}", page=page, life=life, ping=15, reconnect_grace=5)


def props(link: int, life: str, number: int) -> Step:
    return event(link, "props", f"{life}.{number}", stream=f"{life}-1", props=[])


def told(deliveries: list[Any]) -> list[tuple[str, str]]:
    """Which page is told what: the event's id if it has one, else its name, or the kind of what is no event."""

    def what(message: dict[str, Any]) -> str:
        if message["kind"] != "event":
            return message["kind"]
        return message["lastEventId"] if message["type"] == "props" else message["type"]

    return [(delivery["page"], what(delivery["message"])) for delivery in deliveries]


def test_each_page_is_passed_its_own_events() -> None:
    *_, greeted, first, second, unknown = run(
        carry("a"),
        carry("b"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        hello(1, "b", "bbbb"),
        props(1, "bbbb", 1),
        props(1, "aaaa", 1),
        props(1, "cccc", 1),
    )
    assert told(greeted) == [("b", "hello")]
    assert told(first) == [("b", "bbbb.1")]
    assert told(second) == [("a", "aaaa.1")]
    assert unknown == []


def test_a_new_link_is_asked_for_all_pages_with_their_turns_and_how_far_they_have_come() -> None:
    *_, query, again = run(
        carry("a", "aaaa.7", 2, "ticket"),
        carry("b"),
        ["query", 1],
        ["query", 2],
    )
    first, second = ([["page", str(Standing("a", 2, "aaaa", 7, link))], ["page", f"b:1.{link}"]] for link in (1, 2))
    assert query == [*first, ["ticket", "ticket"]]
    assert again == second, "a ticket counts once"


def test_a_new_link_goes_on_behind_what_has_been_passed_on_and_pages_need_not_know() -> None:
    *_, query, greeted, repeated, following, old = run(
        carry("a"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        props(1, "aaaa", 1),
        props(1, "aaaa", 2),
        ["query", 2],
        hello(2, "a", "aaaa", 1),
        props(2, "aaaa", 2),
        props(2, "aaaa", 3),
        props(1, "aaaa", 3),
    )
    assert query == [["page", "a:1.2:aaaa.2"]]
    assert greeted == []
    assert repeated == []
    assert told(following) == [("a", "aaaa.3")]
    assert old == []


def test_events_of_overlapping_links_are_passed_on_once_and_in_order() -> None:
    generator = random.Random(11)
    for _ in range(20):
        steps = [carry("a"), ["query", 1], hello(1, "a", "aaaa")]
        # Each link brings the events in order, from no later than behind the last one that was passed on.
        positions, last = {1: 0}, 0
        for _ in range(60):
            if generator.random() < 0.1:
                link = max(positions) + 1
                steps += [["query", link], hello(link, "a", "aaaa", last)]
                positions[link] = generator.randint(0, last)
            link = generator.choice(list(positions))
            positions[link] += 1
            last = max(last, positions[link])
            steps.append(props(link, "aaaa", positions[link]))
        results = run(*steps)
        passed = [
            one for step, result in zip(steps, results, strict=True) if step[0] == "receive" for one in told(result)
        ]
        assert [what for _, what in passed if what != "hello"] == [f"aaaa.{number + 1}" for number in range(last)]


def test_a_ping_is_passed_to_the_pages_that_it_asks_with_the_number_of_their_own_last_event() -> None:
    *_, asked = run(
        carry("a"),
        carry("b"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        hello(1, "b", "bbbb"),
        props(1, "aaaa", 1),
        props(1, "bbbb", 1),
        # An EventSource gives an event without a number that of the event before.
        event(1, "ping", "bbbb.1", lives=["aaaa", "gone"]),
    )
    assert [(each["page"], each["message"]["lastEventId"]) for each in asked] == [("a", "aaaa.1")]


@pytest.mark.parametrize(("status", "what"), [(409, "over"), (410, "over"), (403, "refused"), (429, "refused")])
def test_a_page_that_is_over_is_told_and_carried_no_more_while_the_others_go_on(status: int, what: str) -> None:
    *_, over, query, other = run(
        carry("a"),
        carry("b"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        hello(1, "b", "bbbb"),
        event(1, "over", page="a", life="aaaa", status=status, message="Why."),
        ["query", 2],
        props(1, "bbbb", 1),
    )
    assert told(over) == [("a", what)]
    assert over[0]["message"]["kind"] == ("event" if status == 409 else what)
    assert query == [["page", "b:1.2:bbbb.0"]]
    assert told(other) == [("b", "bbbb.1")]


def test_what_a_link_before_the_newest_says_is_over_is_not() -> None:
    *_, over, going_on = run(
        carry("a"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        ["query", 2],
        event(1, "over", page="a", life="aaaa", status=409, message="Another connection has taken over."),
        props(2, "aaaa", 1),
    )
    assert over == []
    assert told(going_on) == [("a", "aaaa.1")]


def test_when_no_link_stands_each_page_is_told_once_and_told_again_when_one_does() -> None:
    *_, cut, again, _, greeted = run(
        carry("a"), ["query", 1], hello(1, "a", "aaaa"), ["cut"], ["cut"], ["query", 2], hello(2, "a", "aaaa")
    )
    assert told(cut) == [("a", "cut")]
    assert again == []
    assert told(greeted) == [("a", "hello")]


def test_a_new_life_under_a_link_that_stands_is_told_as_a_cut_first() -> None:
    *_, greeted = run(carry("a"), ["query", 1], hello(1, "a", "aaaa"), ["query", 2], hello(2, "a", "abcd"))
    assert told(greeted) == [("a", "cut"), ("a", "hello")]


def test_a_refusal_of_a_new_link_is_for_the_pages_without_one() -> None:
    *_, refused, query = run(
        carry("a"),
        ["query", 1],
        hello(1, "a", "aaaa"),
        carry("b"),
        ["query", 2],
        ["keepLink", 1],
        ["refuse"],
        ["query", 3],
    )
    assert told(refused) == [("b", "refused")]
    assert query == [["page", "a:1.3:aaaa.0"]]
