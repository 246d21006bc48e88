"""The table of a link's states: it has no dead row, the script goes by it, and the docs show it."""

from __future__ import annotations

import json
import re

from tools.draw_link_states import FIRST, MARKERS, PAGE, SCRIPT, draw, read_table, run_script

TABLE = read_table()
LINK = SCRIPT.with_name("link.js")


def test_the_link_states_in_the_docs_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    drawing = draw(TABLE)
    assert MARKERS.drawing_in(text) == drawing, "docs/states.md is stale: run `python -m tools.draw_link_states`"
    assert MARKERS.redraw(text, drawing) == text


def test_every_state_of_a_link_can_be_reached() -> None:
    reached: set[str] = set()
    found = [FIRST]
    while found:
        state = found.pop()
        if state not in reached:
            reached.add(state)
            found += TABLE.transitions[state].values()
    assert reached == set(TABLE.transitions) == set(TABLE.meanings)


def test_every_trigger_of_a_link_is_taken_by_a_state_and_given_by_the_script() -> None:
    taken = {trigger for transitions in TABLE.transitions.values() for trigger in transitions}
    given = set(re.findall(r"\b(?:advance|connect)\('([a-z ]+)'\)", LINK.read_text()))
    assert taken == given == set(TABLE.causes)


def test_only_a_link_that_was_replaced_is_over() -> None:
    assert [state for state, transitions in TABLE.transitions.items() if not transitions] == ["replaced"]


def test_a_link_takes_what_its_table_has_and_refuses_the_rest() -> None:
    script = """
        (() => {
            const {LinkLife, transitions, causes} = states;
            const after = {};
            for (const state of Object.keys(transitions)) {
                after[state] = {};
                for (const trigger of Object.keys(causes)) {
                    const link = new LinkLife();
                    const first = link.state;
                    link.state = state;
                    try {
                        link.advance(trigger);
                        after[state][trigger] = link.state;
                    } catch (error) {
                        after[state][trigger] = [first, link.state, error.message];
                    }
                }
            }
            return after;
        })()
    """
    for state, outcomes in json.loads(run_script(script)).items():
        for trigger, outcome in outcomes.items():
            refusal = [FIRST, state, f'Flash: a link that is {state} cannot take the trigger "{trigger}".']
            assert outcome == TABLE.transitions[state].get(trigger, refusal)
