"""What a hub does with its ports, its links and its time: `client/hub.js`, in Node.js with a browser that is pretended.

`tests/browser/test_hub.py` has it in a real one, `test_hub_pages.py` what it passes on to which page.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from flash.asgi import hub_script

BROWSER = """
// What a hub asks of its browser, and what happened: links that were opened and closed, pauses, what pages were told.
const links = [], pauses = [], told = {}, ports = {};
let timers = [];
globalThis.self = globalThis;
globalThis.location = {pathname: '/_flash/hub-1.js'};
Object.defineProperty(globalThis, 'navigator', {value: {}});
globalThis.setTimeout = (done, pause = 0) => {
    pauses.push(pause);
    timers.push(done);
    return done;
};
globalThis.clearTimeout = timer => {
    timers = timers.filter(each => each !== timer);
};
globalThis.EventSource = class {
    static CONNECTING = 0;
    static CLOSED = 2;
    readyState = 0;
    isOpen = true;
    listeners = {};
    constructor(url) {
        this.url = url;
        links.push(this);
    }
    addEventListener(name, listener) {
        this.listeners[name] = listener;
    }
    close() {
        this.isOpen = false;
    }
};
"""

TEST = """
const tick = () => timers.splice(0).forEach(done => done());
const from = (page, heard) => {
    if (ports[page] === undefined) {
        told[page] = [];
        ports[page] = {postMessage: message => told[page].push(message)};
        self.onconnect({ports: [ports[page]]});
    }
    ports[page].onmessage({data: heard});
};
const carry = (port, page = port) =>
    from(port, {kind: 'carry', page, turn: 1, last: '', ticket: null, lock: null, headers: {}});
const hello = (link, page) => {
    const data = JSON.stringify({page, life: page, ping: 15, grace: 5});
    link.listeners.hello({type: 'hello', data, lastEventId: `${page}.0`});
};
const over = (link, page, status) => {
    const data = JSON.stringify({page, life: page, status, message: 'Why.'});
    link.listeners.over({type: 'over', data, lastEventId: `${page}.0`});
};
const fail = (link, readyState = 0) => {
    link.readyState = readyState;
    link.onerror();
};
const kinds = page => told[page].map(({kind, type}) => type ?? kind);
const result = (() => {
%s
})();
process.stdout.write(JSON.stringify(result));
"""


def run(steps: str) -> Any:
    """What the JavaScript in `steps` returns, beside a hub."""
    node = shutil.which("node")
    assert node is not None, "Node.js runs this test, as it runs the type checker of the scripts."
    script = BROWSER + hub_script.content().decode() + TEST % steps
    done = subprocess.run([node], input=script, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_a_new_link_has_all_pages_and_the_one_before_is_closed_when_it_brings_something() -> None:
    before, beside, after = run(
        """
        carry('a');
        tick();
        hello(links[0], 'a');
        carry('b');
        carry('c');
        const before = links.length;
        tick();
        const beside = links.map(link => [link.url, link.isOpen]);
        hello(links[1], 'a');
        return [before, beside, links.map(link => link.isOpen)];
        """
    )
    assert before == 1
    assert beside == [["events?page=a%3A1.1", True], ["events?page=a%3A1.2%3Aa.0&page=b%3A1.2&page=c%3A1.2", True]]
    assert after == [False, True]


def test_a_link_that_cannot_be_opened_is_tried_again_before_streams_that_start_are_given_up() -> None:
    pauses, kinds = run(
        """
        carry('a');
        tick();
        hello(links[0], 'a');
        pauses.length = 0;
        for (let i = 0; i < 12; i++) {
            fail(links.at(-1));
            tick();
        }
        hello(links.at(-1), 'a');
        return [pauses, kinds('a')];
        """
    )
    # A stream that starts without a link lives for start_timeout, 5 s.
    assert len(pauses) == 12
    assert min(pauses) >= 500
    assert max(pauses) <= 3_000
    assert len(set(pauses)) > 6, "not all browsers at the same moment"
    assert kinds == ["hello", "cut", "hello"]


def test_pages_that_a_link_took_along_which_has_failed_are_not_given_up() -> None:
    """The server had the link, and says over the one before that another has its pages; the hub knows of no other."""
    links, kinds = run(
        """
        carry('a');
        tick();
        hello(links[0], 'a');
        carry('b');
        tick();
        fail(links[1]);
        over(links[0], 'a', 409);
        tick();
        const opened = links.at(-1).url;
        hello(links.at(-1), 'a');
        hello(links.at(-1), 'b');
        return [[links.length, opened], [kinds('a'), kinds('b')]];
        """
    )
    assert links == [3, "events?page=a%3A1.3%3Aa.0&page=b%3A1.3"]
    assert kinds == [["hello", "cut", "hello"], ["hello"]]


def test_a_page_that_has_a_newer_link_of_its_own_is_not_carried_any_more() -> None:
    links, kinds = run(
        """
        carry('a');
        carry('b');
        tick();
        hello(links[0], 'a');
        hello(links[0], 'b');
        over(links[0], 'a', 409);
        tick();
        fail(links[0]);
        tick();
        return [links.map(link => link.url), kinds('a')];
        """
    )
    assert links == ["events?page=a%3A1.1&page=b%3A1.1", "events?page=b%3A1.2%3Ab.0"]
    assert kinds == ["hello", "over"]


def test_a_link_that_is_refused_as_a_whole_is_left_to_its_pages() -> None:
    links, kinds = run(
        """
        carry('a');
        carry('b');
        tick();
        fail(links[0], 2);
        tick();
        return [links.map(link => link.isOpen), [kinds('a'), kinds('b')]];
        """
    )
    assert links == [False]
    assert kinds == [["refused"], ["refused"]]


def test_a_refused_page_does_not_disturb_those_that_have_a_link() -> None:
    links, kinds = run(
        """
        carry('a');
        tick();
        hello(links[0], 'a');
        carry('b');
        tick();
        fail(links[1], 2);
        tick();
        return [links.map(link => link.isOpen), [kinds('a'), kinds('b')]];
        """
    )
    assert links == [True, False]
    assert kinds == [["hello"], ["refused"]]


def test_the_last_page_that_leaves_closes_the_link() -> None:
    assert run(
        """
        carry('a');
        carry('b');
        tick();
        hello(links[0], 'a');
        from('a', {kind: 'drop', page: 'a'});
        const still = links[0].isOpen;
        from('b', {kind: 'drop', page: 'b'});
        tick();
        return [still, ...links.map(link => link.isOpen)];
        """
    ) == [True, False]


def test_a_page_that_is_opened_a_second_time_is_told_so_and_does_not_come_back() -> None:
    before, after = run(
        """
        carry('first', 'a');
        tick();
        hello(links[0], 'a');
        carry('second', 'a');
        tick();
        hello(links[1], 'a');
        return [kinds('first'), kinds('second')];
        """
    )
    assert before == ["hello", "over"]
    assert after == ["hello"]
