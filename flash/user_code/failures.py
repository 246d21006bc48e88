"""Reads exceptions of the user's code: one alone out of a nursery is itself, and known mistakes get a note.

A nursery raises its children's exceptions as a group, one or many. Whoever asked for several things at a time means the
one that failed, `PreventUpdate` included; a group of several that failed stays a group.

Code that was written for asyncio, or for Flask, fails on Trio and Quart with sentences that name neither. The notes do.
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
    "Flash runs on Quart, not on Flask: flask.request, flask.session, flask.g and flask.current_app know nothing of "
    "this request. Write `from quart import request, session` instead: see docs/migrating.md."
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
    """What an exception that the user's code raised is taken for.

    Args:
        error: the exception.
        finishes: exceptions that say that there is nothing more to say: if a group has no other, one of them.

    Returns:
        The exception, with a note if its cause is known; or the one that a group holds.
    """
    leaves = list(_leaves(error))
    for leaf in leaves:
        _annotate(leaf)
    if len(leaves) == 1 or all(isinstance(leaf, finishes) for leaf in leaves):
        return leaves[0]
    return error


def sentence_of(error: BaseException) -> str:
    """The type and the message of an exception, also of one that fails to say it."""
    try:
        return traceback.format_exception_only(error)[0].strip()
    except BaseException:
        return type(error).__name__


def read_end(
    error: BaseException, name: str, finishes: tuple[type[Exception], ...], cancelled: bool
) -> BaseException | None:
    """What an exception with which a stream's generator has ended is taken for; None for an end that is no failure.

    Args:
        error: the exception.
        name: of the stream, for messages.
        finishes: exceptions that say that there is nothing more to say.
        cancelled: whether the stream was.
    """
    if isinstance(error, trio.Cancelled) and not cancelled:
        # Of a scope that was not left where it was entered: there it would have been caught.
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
    """What is in a group beside what unwinds a generator, a GeneratorExit or a Cancelled; None if that is all."""
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
        # Of exactly that type: the message of a class of the user's may take any code to tell.
        if type(error) is kind and pattern.search(sentence_of(error)):
            # What the user's code has put into `__notes__` may be of any kind.
            with contextlib.suppress(BaseException):
                if note not in getattr(error, "__notes__", ()):
                    error.add_note(note)
