"""Reads the exceptions of the user's code: unwraps groups of one, and adds notes to those of known mistakes.

A nursery raises the exceptions of its tasks as a group, even if there is only one. Handlers are written for the
exception itself, and so is `PreventUpdate`: a group of one becomes that one. A group of several stays a group.

Code that was written for asyncio, or for Flask, fails on Trio and Quart with messages that name neither. The notes name
them, and say what to write instead.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from typing import cast

import trio

from ..errors import ForeignCancellation

_ASYNCIO = re.compile(
    r"no running event loop|no current event loop|received unrecognized yield message|"
    r"should be used inside a task|'NoneType' object has no attribute 'create_future'"
)

_FLASK = re.compile(r"Working outside of (request|application) context")

_ASYNC_FOR = re.compile(r"'async_generator' object is not iterable")

_FOR = re.compile(r"'async for' requires an object with __aiter__ method, got generator")

_NOT_AWAITED = re.compile(r"'coroutine'|\bcoroutine object\b|\bgot coroutine\b")

_AWAITED_GENERATOR = re.compile(r"object (async_generator|generator) can't be used in 'await' expression")

_AWAITED_RESULT = re.compile(r"object (?!async_generator|generator|Ticks)\w+ can't be used in 'await' expression")

_AWAITED_TICKS = re.compile(r"object Ticks can't be used in 'await' expression")

_RUN_IN_RUN = re.compile(r"Attempted to call run\(\) from inside a run\(\)")

_STREAM_PROPS = re.compile(r"\bstream_props\(\) (got|takes)")

_ASYNCIO_NOTE = (
    "Flash runs on Trio, and this is asyncio's. Use Trio's counterpart (trio.sleep, a nursery for asyncio.gather and "
    "asyncio.create_task, trio.to_thread.run_sync, trio.move_on_after), or decorate the function with @on_asyncio, "
    "below @callback or @event_callback, if it needs a library that is written for asyncio: see docs/asyncio.md."
)

_FLASK_NOTE = (
    "flask.request, flask.session, flask.g and flask.current_app know nothing of this request: Quart serves it, not "
    "Flask. Write `from quart import request, session`, or give Flash a Flask app, `Flash(server=Flask(__name__))`: "
    "see docs/migrating.md."
)

_NOT_AWAITED_NOTE = "An async function was called without `await`: write `await` in front of the call."

_NOTES = (
    (RuntimeError, _ASYNCIO, _ASYNCIO_NOTE),
    (TypeError, _ASYNCIO, _ASYNCIO_NOTE),
    (AttributeError, _ASYNCIO, _ASYNCIO_NOTE),
    (RuntimeError, _FLASK, _FLASK_NOTE),
    (TypeError, _ASYNC_FOR, "It is an async generator: write `async for`, in an `async def`."),
    (TypeError, _FOR, "It is a plain generator: write `for`."),
    (TypeError, _NOT_AWAITED, _NOT_AWAITED_NOTE),
    (AttributeError, _NOT_AWAITED, _NOT_AWAITED_NOTE),
    (TypeError, _AWAITED_GENERATOR, "It is a generator: iterate it, with `async for` or `for`."),
    (TypeError, _AWAITED_TICKS, "Write `async for _ in every(...)`; to wait once, `await trio.sleep(...)`."),
    (RuntimeError, _RUN_IN_RUN, "Trio runs already: `await` the async function."),
    (TypeError, _AWAITED_RESULT, "What was called is no async function: leave `await` out."),
    (TypeError, _STREAM_PROPS, 'Write stream_props("id", {"prop": value}).'),
)


def read_failure(error: BaseException, finishes: tuple[type[Exception], ...] = ()) -> BaseException:
    """The exception to handle in place of one that the user's code has raised.

    Args:
        error: the exception.
        finishes: types of exceptions that end code without a failure. A group of nothing else becomes one of them.

    Returns:
        The exception, or the one that a group of one holds, with a note if it is of a known mistake.
    """
    leaves = list(_leaves(error))
    for leaf in leaves:
        _annotate(leaf)
    if len(leaves) == 1 or all(isinstance(leaf, finishes) for leaf in leaves):
        return leaves[0]
    return error


def sentence_of(error: BaseException) -> str:
    """The type and the message of an exception; the type alone if the message cannot be formatted."""
    try:
        return traceback.format_exception_only(error)[0].strip()
    except BaseException:
        return type(error).__name__


def read_end(
    error: BaseException, name: str, finishes: tuple[type[Exception], ...], cancelled: bool
) -> BaseException | None:
    """The failure that an exception stands for with which a stream's generator has ended; None if it is none.

    Args:
        error: the exception.
        name: the name of the stream, for messages.
        finishes: types of exceptions that end a generator without a failure.
        cancelled: whether the stream was cancelled.
    """
    if isinstance(error, trio.Cancelled) and not cancelled:
        # The scope that it belongs to was left at another place than it was entered, or it would have caught this.
        return ForeignCancellation(
            f"{name} was cancelled by a nursery or cancel scope that is not around the code that it cancelled: most "
            "likely it is in an async generator that this iterates, around its yield. Close the generator "
            "(contextlib.aclosing), or open the nursery outside of it."
        )
    failure: BaseException | None = error
    if isinstance(error, BaseExceptionGroup) and cancelled:
        failure = without_exit(cast("BaseExceptionGroup[BaseException]", error))
    if failure is not None:
        failure = read_failure(failure, finishes)
    return None if isinstance(failure, finishes) else failure


def without_exit(group: BaseExceptionGroup[BaseException]) -> BaseExceptionGroup[BaseException] | None:
    """A group without what unwinds a generator, GeneratorExit and Cancelled; None if it holds nothing else."""
    return group.split((GeneratorExit, trio.Cancelled))[1]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _annotate(error: BaseException) -> None:
    """Add the note that goes with an exception, once."""
    for kind, pattern, note in _NOTES:
        # Of exactly that type: to format the message of a class of the user's may run any code.
        if type(error) is kind and pattern.search(sentence_of(error)):
            # The user's code may have put anything into `__notes__`.
            with contextlib.suppress(BaseException):
                if note not in getattr(error, "__notes__", ()):
                    error.add_note(note)
