"""What a page does about a stream that runs in another server process than its link's: `client/elsewhere.js`.

The script runs in Node.js, which is given a list of what happens, and answers with what the page has done.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import flash

CLIENT = Path(flash.__file__).parent / "client"

SCRIPT = """
globalThis.window = globalThis;
const done = [];
let waiting = [];
let isLinked = true;
globalThis.setTimeout = call => waiting.push(call);
console.error = () => {};
globalThis.flash = {
    streams: {refuseStart: (callback, sentence) => done.push(sentence)},
    mistakes: {startedBy: ({callback}) => callback}
};
process.argv.slice(1).forEach(path => require(path));
const {elsewhere} = globalThis.flash;
elsewhere.begin(() => isLinked, () => done.push('another link'));
const happens = {
    link: (life, workers) => elsewhere.noteLink(life, workers),
    start: life => elsewhere.check(life, JSON.stringify({callback: 'run'})),
    cut: () => (isLinked = false),
    linked: () => (isLinked = true),
    timeout: () => waiting.splice(0).forEach(call => call())
};
JSON.parse(require('fs').readFileSync(0, 'utf8')).forEach(([what, ...rest]) => happens[what](...rest));
process.stdout.write(JSON.stringify([...done, waiting.length]));
"""

ANOTHER_LINK = "another link"


def run(*steps: list[Any]) -> list[Any]:
    """What the page does: it opens another link, or shows a sentence; and how many timeouts are waited for."""
    node = shutil.which("node")
    assert node is not None, "Node.js runs this test, as it runs the type checker of the scripts."
    command = [node, "-e", SCRIPT, str(CLIENT / "elsewhere.js")]
    done = subprocess.run(command, input=json.dumps(steps), capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_a_stream_of_a_life_that_the_page_has_a_link_of_is_waited_for_by_nobody() -> None:
    assert run(["link", "a", True], ["start", "a"]) == [0]
    assert run(["link", "a", True], ["start", "b"], ["link", "b", True], ["timeout"]) == [0]


def test_where_workers_know_each_other_another_link_is_opened_and_then_the_page_says_that_it_did_not_help() -> None:
    steps: list[list[Any]] = [["link", "a", True], ["start", "b"], ["timeout"]]
    assert run(*steps) == [ANOTHER_LINK, 1]
    assert run(*steps, ["link", "b", True], ["timeout"]) == [ANOTHER_LINK, 0]
    searched, sentence, waiting = run(*steps, ["link", "a", True], ["timeout"])
    assert (searched, waiting) == (ANOTHER_LINK, 0)
    assert "Start it again" in sentence
    assert "--workers" not in sentence, "it has them"


def test_where_they_do_not_the_page_names_the_two_ways_out_and_keeps_its_link() -> None:
    sentence, waiting = run(["link", "a", False], ["start", "b"], ["timeout"])
    assert waiting == 0
    assert "`flash run --workers N`" in sentence
    assert "Redis" in sentence


def test_while_the_page_has_no_link_it_waits_for_one() -> None:
    assert run(["link", "a", False], ["cut"], ["start", "b"], ["timeout"], ["timeout"]) == [1]
