"""The wire's two sides, `flash/wire.py` and `flash/client/wire.js`, agree; so does `docs/wire.md`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import flash
from flash import wire, wire_messages
from flash.cancel_scopes import EndReason
from flash.streams.link import GONE
from flash.wire import JsonObject, Payload, StreamPayload

CLIENT = Path(flash.__file__).parent / "client"
DOCUMENT = Path(flash.__file__).parents[1] / "docs" / "wire.md"
STREAM = "1f0c9d2e-7"

EXAMPLES: list[JsonObject] = [
    wire.Hello("token", "1f0c9d2e", 15.0, None),
    wire.Hello("token", "2f0c9d2e", None, 5.0, ["1f0c9d2e-7"], True),
    wire.Open(
        callback_id="_flash-1",
        output="..out.children..",
        match='{"index":1}',
        again={"output": "", "outputs": [], "inputs": [{"id": "a", "property": "b", "optional": False}], "state": []},
        conflate=True,
        components=b'["a",{"index":1}]',
        conditions=b'[{"id":"a","property":"b","value":[1],"missing":false,"exempt":true,"watched":false}]',
        props=wire.array(b'["a",{"b":1}]'),
        reset=wire.array(b"", b'["a",{"b":1}]', b'["c",{"d":null}]'),
    ),
    wire.Open(
        callback_id="_flash-1",
        output=None,
        match=None,
        again=None,
        conflate=False,
        components=b"null",
        conditions=b"[]",
        props=wire.array(),
        reset=wire.array(),
    ),
    wire.Props(wire.array(b'["a",{"b":"\xc3\xbc"}]', b'[{"index":["ALL"]},{"b":1}]')),
    wire.End("failed", wire.array(), wire.Failure('"no"', "<p>no</p>").encode(), handled=True),
    wire.End("completed", wire.array(b'["a",{"b":1}]'), b"null"),
    wire.Refused("_flash-1", '{"index":1}', "No.", status="idle"),
    wire.Refused("_flash-1", None, "No."),
    wire.MistakeEvent("ticks", "It yields None."),
    wire.Ping(["1f0c9d2e", "2f0c9d2e"]),
    wire.Over("token", None, 409, "No."),
]
MESSAGES: list[JsonObject] = [
    wire_messages.Ack({"token": "1f0c9d2e.7", "another": "2f0c9d2e.1"}),
    wire_messages.Cancel("token", STREAM, "layout", None, 7),
    wire_messages.Close("token"),
    wire_messages.TicketRequest("token"),
    wire_messages.ControlMessage(3, "ack", {wire.PROOF_HEADER: "secret"}, "{}"),
]
ANSWERS: list[JsonObject] = [
    wire_messages.Status(None),
    wire_messages.Acknowledged([{"page": "token", "status": 404, "message": "No."}]),
    wire_messages.Ticket("ticket"),
    wire_messages.ControlAnswer(3, 204, "text/plain", "No.", "0123abcd"),
]

STANDINGS = [
    ("token", 0, "", None),
    ("token", 12, "1f0c9d2e.7", None),
    ("token", 1, "", 1),
    ("token", 1, "1f0c9d2e.7", 12),
]
IDS = ["", "1f0c9d2e.7", "1f0c9d2e.10", "2f0c9d2e.1"]

SCRIPT = """
globalThis.window = {flash: {}};
require(process.argv[1]);
const {wire} = window.flash;
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
// A field that the script has and the server does not is undefined: JSON would leave it out.
const show = value => JSON.stringify(value, (key, inner) => inner === undefined ? 'UNDEFINED' : inner);
process.stdout.write(show({
    names: Object.keys(wire.events),
    messages: Object.keys(wire.messages),
    answers: Object.keys(wire.answers),
    reasons: wire.REASONS,
    headers: [wire.PROOF_HEADER, wire.START_HEADER, wire.LIFE_HEADER],
    statuses: [wire.TAKEN_OVER, wire.LIFE_OVER],
    prefix: wire.streamPrefix(given.stream),
    events: given.events.map(([name, text]) => wire.parse(name, text)),
    messages_read: given.messages.map(([name, fields]) => wire.messages[name](fields)),
    sent: given.messages.map(([name, fields]) => wire.encode(name, fields)),
    standings: given.standings.map(([page, turn, last, link]) => wire.standing(page, turn, last, link)),
    follows: given.ids.map(id => given.ids.map(last => wire.follows(id, last))),
    unnumbered: Object.keys(wire.events).filter(name => !wire.isNumbered(name)),
    answered: given.answers.map(([name, text]) => wire.parseAnswer(name, text)),
}));
"""


def data_of(payload: JsonObject) -> str:
    return (payload.encode_for(STREAM) if isinstance(payload, StreamPayload) else payload.encode()).decode()


def values_of(payload: JsonObject) -> dict[str, Any]:
    """All fields of a payload, those with a default included."""
    values = {each.name: getattr(payload, each.name) for each in fields(payload)}
    parsed = {
        name: json.loads(value) if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
    return {"stream": STREAM, **parsed} if isinstance(payload, StreamPayload) else parsed


def name_of(payload: Any) -> str:
    return payload.event if isinstance(payload, Payload) else payload.route


@pytest.fixture(scope="module")
def twin() -> dict[str, Any]:
    """What the script has, and makes of what the server sends."""
    node = shutil.which("node")
    assert node is not None, "Node.js runs this test, as it runs the type checker of the scripts."
    given = {
        "stream": STREAM,
        "events": [(name_of(each), data_of(each)) for each in EXAMPLES],
        "messages": [(name_of(each), values_of(each)) for each in MESSAGES],
        "standings": STANDINGS,
        "ids": IDS,
        "answers": [(name_of(each), data_of(each)) for each in ANSWERS],
    }
    command = [node, "-e", SCRIPT, str(CLIENT / "wire.js")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"wire.js cannot read or write one of the examples:\n{done.stderr}"
    return json.loads(done.stdout)


def named(base: type) -> set[type]:
    """The classes of the wire that are derived from `base` and have a name."""
    everything = [*vars(wire).values(), *vars(wire_messages).values()]
    derived = {each for each in everything if isinstance(each, type) and issubclass(each, base)}
    return {each for each in derived if hasattr(each, "event") or hasattr(each, "route")}


def test_every_event_message_and_answer_is_tried() -> None:
    assert {type(each) for each in EXAMPLES} == set(wire.EVENTS) == named(Payload)
    assert {type(each) for each in MESSAGES} == {*wire_messages.MESSAGES, wire_messages.ControlMessage}
    assert {*wire_messages.MESSAGES} == named(wire_messages.Message)
    assert {type(each) for each in ANSWERS} == set(wire_messages.ANSWERS) == named(wire_messages.AnswerPayload)


def test_both_sides_have_the_same_names(twin: dict[str, Any]) -> None:
    assert twin["names"] == [each.event for each in wire.EVENTS]
    assert twin["messages"] == [each.route for each in (*wire_messages.MESSAGES, wire_messages.ControlMessage)]
    assert twin["answers"] == [each.route for each in wire_messages.ANSWERS]
    assert all(EndReason[name] == reason for name, reason in twin["reasons"].items())
    assert twin["headers"] == [wire.PROOF_HEADER, wire.START_HEADER, wire.LIFE_HEADER]
    assert twin["statuses"] == [409, GONE]


def test_the_script_reads_every_field_that_the_server_writes_and_no_other(twin: dict[str, Any]) -> None:
    assert twin["events"] == [values_of(each) for each in EXAMPLES]
    assert twin["answered"] == [values_of(each) for each in ANSWERS]


def test_the_server_reads_every_field_that_the_script_writes_and_no_other(twin: dict[str, Any]) -> None:
    assert twin["messages_read"] == [values_of(each) for each in MESSAGES]
    assert wire_messages.Ack.read(json.loads(twin["sent"][0])) == MESSAGES[0]
    assert wire_messages.Cancel.read(json.loads(twin["sent"][1])) == MESSAGES[1]
    assert wire_messages.ControlMessage.read(twin["sent"][4]) == MESSAGES[4]


def test_the_server_reads_how_far_a_page_has_come_as_the_script_writes_it(twin: dict[str, Any]) -> None:
    read = [wire.Standing.read(text) for text in twin["standings"]]
    assert read == [wire.Standing(page, turn, *wire.parse_event_id(last), link) for page, turn, last, link in STANDINGS]
    assert [str(each) for each in read] == twin["standings"]


def test_the_script_knows_which_of_two_events_comes_after_the_other(twin: dict[str, Any]) -> None:
    assert twin["follows"] == [
        # after: nothing, 7, 10, another life
        [False, True, True, True],
        [True, False, False, True],
        [True, True, False, True],
        [True, True, True, False],
    ]
    assert twin["unnumbered"] == ["hello", "ping", "over"]


def test_the_script_finds_every_event_of_a_stream_by_its_prefix(twin: dict[str, Any]) -> None:
    of_stream = [each for each in EXAMPLES if isinstance(each, StreamPayload)]
    assert len(of_stream) > 4
    assert twin["prefix"].encode() == wire.stream_prefix(STREAM)
    assert all(data_of(each).startswith(twin["prefix"]) for each in of_stream)


def test_an_update_is_put_together_as_its_event_is_encoded() -> None:
    pairs = b'["a",{"b":1}],["a",{"b":2}]'
    assert wire.PROPS_DATA % (wire.props_head(STREAM), pairs) == wire.Props(wire.array(pairs)).encode_for(STREAM)


def test_the_document_has_every_event_message_and_answer_with_its_fields() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    stated = [(name, re.findall(r"`([^`]+)`", stated)) for name, stated in rows]
    classes = (*wire.EVENTS, *wire_messages.MESSAGES, wire_messages.ControlMessage, *wire_messages.ANSWERS)
    assert stated == [
        (
            each.event if issubclass(each, Payload) else each.route,
            [*(["stream"] if issubclass(each, StreamPayload) else []), *(field.name for field in fields(each))],
        )
        for each in classes
    ]
