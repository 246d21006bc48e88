"""What a page says of starts that other server processes have taken: `client/elsewhere.js`, in Node.js.

The script is given what happens, in order, and the timers that it sets run when a step says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import flash

CLIENT = Path(flash.__file__).parent / "client"

SCRIPT = """
let timers = [];
globalThis.setTimeout = run => timers.push(run);
console.error = () => undefined;
const told = [];
let hasLink = true;
globalThis.window = {flash: {
    streams: {refuseStart: callback => told.push(callback)},
    mistakes: {startedBy: body => body.callback}
}};
require(process.argv[1]);
const {elsewhere} = window.flash;
elsewhere.begin(() => hasLink);
const steps = {
    linked: life => { hasLink = true; elsewhere.noteLink(life); },
    cut: () => { hasLink = false; },
    started: life => elsewhere.check(life, JSON.stringify({callback: `with ${life}`})),
    later: () => timers.splice(0).forEach(run => run())
};
JSON.parse(require('fs').readFileSync(0, 'utf8')).forEach(([step, life]) => steps[step](life));
process.stdout.write(JSON.stringify({told, waiting: timers.length}));
"""

LATER, CUT = ("later", ""), ("cut", "")


def linked(life: str) -> tuple[str, str]:
    return ("linked", life)


def started(life: str) -> tuple[str, str]:
    return ("started", life)


def told(*steps: tuple[str, str]) -> list[str]:
    """The callbacks that the page is told of; nothing may wait at the end."""
    node = shutil.which("node")
    assert node is not None, "Node.js runs this test, as it runs the type checker of the scripts."
    command = [node, "-e", SCRIPT, str(CLIENT / "elsewhere.js")]
    done = subprocess.run(command, input=json.dumps(steps), capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["waiting"] == 0
    return answer["told"]


def test_a_start_in_another_life_than_the_links_is_told() -> None:
    assert told(linked("a"), started("b"), LATER) == ["with b"]
    # The first start of a page comes before its link.
    assert told(started("b"), linked("a"), LATER) == ["with b"]


def test_a_start_in_the_links_life_is_not_told() -> None:
    assert told(linked("a"), started("a")) == []
    assert told(started("a"), linked("a"), LATER) == []


def test_a_start_in_a_new_life_is_not_told_once_the_link_has_come_to_it() -> None:
    assert told(linked("a"), started("b"), linked("b"), LATER) == []
    assert told(linked("a"), linked("b"), started("a")) == [], "the page was told that this life has ended"


def test_while_the_page_has_no_link_nothing_is_told() -> None:
    assert told(linked("a"), started("b"), CUT, LATER, LATER, linked("b"), LATER) == []
    assert told(linked("a"), CUT, started("b"), LATER, linked("c"), LATER) == ["with b"]


def test_an_answer_without_a_life_says_nothing() -> None:
    assert told(linked("a"), started("")) == []
