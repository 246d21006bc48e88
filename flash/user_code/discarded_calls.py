"""Finds calls whose result is thrown away: `stream_props(...)` without `yield`, `sleep` without `await`.

The bytecode of a function is searched when the function is decorated, so that its streams pay nothing for it. There, a
call whose result is thrown away is followed by `POP_TOP`. The instructions that load what is called stand at the place
in the source where the call begins, and they have its name.
"""

from __future__ import annotations

import dis
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from ..errors import InvalidEventCallback
from .functions import innermost, is_generator_function

_NOT_A_NAME = ("CALL", "BINARY", "COMPARE", "CONTAINS", "LOAD_SUPER")
"""Prefixes of instructions that make the callee more than a dotted name, such as `f().g`."""


class Discarded(NamedTuple):
    """A call whose result is thrown away.

    Attributes:
        callee: the dotted name of what is called, as written.
        function: what the name stands for; None if only running the code would tell.
        line: the number of the line of the call.
    """

    callee: str
    function: object
    line: int


def check_discarded(function: object, what: str, update_maker: Callable[..., Any], instead: str) -> None:
    """Refuse a function that makes a call for its result and throws the result away.

    Args:
        function: the function, or what decorates it.
        what: begins the messages, such as "'show'".
        update_maker: `stream_props`.
        instead: what to write instead of `stream_props(...)`.

    Raises:
        InvalidEventCallback: it calls `stream_props(...)`, an async function or a generator function, and does nothing
            with the result.
    """
    user = innermost(function)
    user = getattr(user, "__func__", user)
    if not isinstance(user, FunctionType):
        return
    for call in _discarded(user.__code__, _names(user)):
        where = f"line {call.line} of {user.__code__.co_filename}"
        if call.function is update_maker:
            raise InvalidEventCallback(
                f"{what} makes an update with {call.callee}(...) and does nothing with it ({where}): {instead}."
            )
        if inspect.iscoroutinefunction(call.function):
            raise InvalidEventCallback(
                f"{what} calls {call.callee}(...), an async function, and does nothing with it ({where}), so that "
                f"it never runs: write `await {call.callee}(...)`."
            )
        if _makes_generator(call.function):
            raise InvalidEventCallback(
                f"{what} calls {call.callee}(...), which makes a generator, and does nothing with it ({where}), so "
                "that nothing of it runs: iterate it, with `async for` or `for`. What starts a stream is a change of "
                "an Input of its callback, not a call."
            )


def _makes_generator(function: object) -> bool:
    """Whether it is a generator function, or an object that stands in for one, as an event callback does."""
    return is_generator_function(function if inspect.isroutine(function) else getattr(function, "__wrapped__", None))


def _discarded(code: CodeType, names: Mapping[str, object]) -> Iterator[Discarded]:
    """The calls whose result is thrown away, in functions inside `code` as well."""
    instructions = [entry for entry in dis.get_instructions(code) if entry.opname != "CACHE"]
    for entry, following in itertools.pairwise(instructions):
        if entry.opname.startswith("CALL") and following.opname == "POP_TOP" and entry.positions is not None:
            callee = _callee(instructions, entry)
            if callee is not None:
                yield Discarded(callee, _find(callee, code, names), entry.positions.lineno or 0)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            # A local name of an inner function hides what has that name outside.
            yield from _discarded(constant, {name: names[name] for name in names if name not in constant.co_varnames})


def _callee(instructions: list[dis.Instruction], call: dis.Instruction) -> str | None:
    """The dotted name of what is called; None if it is another expression."""
    assert call.positions is not None
    start = (call.positions.lineno, call.positions.col_offset)
    parts: list[str] = []
    for entry in instructions:
        if entry.offset >= call.offset:
            break
        if entry.positions is None or (entry.positions.lineno, entry.positions.col_offset) != start:
            continue
        if entry.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
            parts = [str(entry.argval)]
        elif entry.opname in ("LOAD_ATTR", "LOAD_METHOD") and parts:
            parts.append(str(entry.argval))
        elif entry.opname.startswith(_NOT_A_NAME):
            return None
    return ".".join(parts) or None


def _find(callee: str, code: CodeType, names: Mapping[str, object]) -> object:
    first, *rest = callee.split(".")
    if first in code.co_varnames:
        return None
    found = names.get(first)
    for name in rest:
        # Only attributes of modules: to look up one of another object may run code.
        found = getattr(found, name, None) if inspect.ismodule(found) else None
    return found


def _names(function: FunctionType) -> dict[str, object]:
    """What the names in a function stand for: its globals, and the variables that it closes over, if they are set."""
    names: dict[str, object] = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            names.pop(name, None)
    return names
