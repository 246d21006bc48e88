"""The page on log messages names each message that Flash logs as a warning or an error, under its log, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FLASH = ROOT / "flash"
PAGE = ROOT / "docs" / "log-messages.md"

POSITIONS = {
    "warning": 0,
    "error": 0,
    "exception": 0,
    "critical": 0,
    "warn": 1,  # of ClientWarnings, after the kind of warning
    "contain": 1,  # after the log
    "contain_failure": 1,
    "log_failure": 2,  # after the log and the exception
    "log_once": 1,  # of Mistakes, after the kind of mistake
    "Mistake": 1,
}
"""The functions that log warnings and errors, or name a mistake for that, each with the position of the message."""

PASSED_ON = {
    "asgi/client_log.py",  # ClientWarnings.warn
    "user_code/containment.py",  # contain, contain_failure
    "streams/mistakes.py",  # Mistakes.log_once
    "callbacks/declaration.py",  # doubtful options, which docs/mistakes.md has
}
"""The modules that log a message which they were given. Where it was made, it is found."""


class Message(NamedTuple):
    """A message, with … for what is put into it.

    Attributes:
        log: the name of the log.
        text: the message.
    """

    log: str
    text: str


def test_the_page_names_every_message() -> None:
    rows = _rows()
    lacking = [message for message in _messages() if not any(_names(row, message) for row in rows)]
    assert not lacking, f"docs/log-messages.md lacks messages: say there what to do about {lacking}"


def test_the_page_names_no_message_that_is_not_there() -> None:
    messages = list(_messages())
    gone = [row for row in _rows() if not any(_names(row, message) for message in messages)]
    assert not gone, f"docs/log-messages.md names messages that Flash does not log: {gone}"


def test_the_page_says_of_every_message_what_to_do() -> None:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            assert re.fullmatch(r"\| (`+).+?\1 \| \S.*\S \|", line), line


def test_messages_are_found_but_where_they_are_only_passed_on() -> None:
    assert {str(path.relative_to(FLASH)) for path, _, found in _calls() if not found} == PASSED_ON


def _names(row: Message, message: Message) -> bool:
    """Whether a row names a message: by its beginning, as long ones need not be written in full."""
    return row.log == message.log and message.text.startswith(row.text)


def _rows() -> list[Message]:
    rows: list[Message] = []
    log = ""
    for line in PAGE.read_text().splitlines():
        if heading := re.fullmatch(r"## `(.*)`", line):
            log = heading[1]
        elif cell := re.match(r"\| (`+) ?(.+?) ?\1 \|", line):
            rows.append(Message(log, cell[2]))
    return rows


def _messages() -> Iterator[Message]:
    for _, log, texts in _calls():
        yield from (Message(log, text) for text in texts)


def _calls() -> Iterator[tuple[Path, str, list[str]]]:
    """Each call that logs: its module, the name of its log, and what its message may be."""
    for path in sorted(FLASH.rglob("*.py")):
        tree = ast.parse(path.read_text())
        log = re.search(r'^_(?:log|warnings) = .*getLogger\("([\w.]+)"\)', path.read_text(), re.MULTILINE)
        for function in _functions(tree):
            for call in _own_nodes(function):
                name = _function_name(call)
                if isinstance(call, ast.Call) and name is not None and len(call.args) > POSITIONS[name]:
                    message = call.args[POSITIONS[name]]
                    own = log[1] if log and name not in ("log_once", "Mistake") else "flash.streams"
                    yield path, own, list(_texts(message, function))


def _functions(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes in a function, without those in functions within it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _own_nodes(child)


def _function_name(call: ast.AST) -> str | None:
    if not isinstance(call, ast.Call):
        return None
    if isinstance(call.func, ast.Name):
        return call.func.id if call.func.id in ("contain", "contain_failure", "log_failure", "Mistake") else None
    if isinstance(call.func, ast.Attribute) and call.func.attr in POSITIONS:
        owner = ast.unparse(call.func.value)
        return call.func.attr if owner.endswith(("log", "_warnings", "istakes")) else None
    return None


def _texts(message: ast.expr, function: ast.AST) -> Iterator[str]:
    """What an expression may be, as far as it is written there, or given to a variable in the same function."""
    if isinstance(message, ast.IfExp):
        yield from _texts(message.body, function)
        yield from _texts(message.orelse, function)
    elif isinstance(message, ast.Name):
        for node in _own_nodes(function):
            if isinstance(node, ast.Assign) and any(ast.unparse(target) == message.id for target in node.targets):
                yield from _texts(node.value, function)
    elif isinstance(message, ast.Constant | ast.JoinedStr):
        parts = message.values if isinstance(message, ast.JoinedStr) else [message]
        text = re.sub(r"%[-\d.]*[a-z]", "…", "".join(_text(part, function) for part in parts))
        if text.strip("…. "):
            yield text


def _text(part: ast.expr, function: ast.AST) -> str:
    """What a part of a string is: … if it is not written there."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    texts = list(_texts(part.value, function)) if isinstance(part, ast.FormattedValue) else []
    return texts[0] if len(texts) == 1 else "…"
