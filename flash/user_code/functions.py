"""Tells of a callable of the user's whether it makes a generator, and calls it: also behind decorators.

A login check or a stopwatch stands between `@event_callback` and the generator function, as an ordinary function under
`functools.wraps` that returns what it was given; a `partial`, a bound method or an object with `__call__` stands in
for a function. What such a callable makes is known when it has been called: mostly the generator, or a coroutine that
returns it; and from a check that says no, a plain value, which then is all that the stream has to say.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Literal, cast

Kind = Literal["async", "plain"]

Last = Callable[[object], object]
"""Says what becomes of a value that was returned, not yielded: what to yield for it; None for nothing."""


def is_generator_function(function: object) -> bool:
    """Whether `function` itself makes generators, async or plain ones."""
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def kind_of_generator(function: object) -> Kind | None:
    """What generators `function` makes, itself or what it decorates or stands in for; None if it makes none."""
    for layer in _layers(function):
        if inspect.isasyncgenfunction(layer):
            return "async"
        if inspect.isgeneratorfunction(layer):
            return "plain"
    return None


def innermost(function: object) -> object:
    """The function behind all decorators and stand-ins."""
    *_, last = _layers(function)
    return last


def name_of(function: object) -> str:
    """What messages call a callback: the same in every process."""
    while isinstance(function, functools.partial):
        function = cast("object", function.func)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name.replace("<locals>.", "")


def takes(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
    """Whether `function` can be called with such arguments. What cannot be told may be.

    What it decorates does not matter: a decorator may add arguments of its own, or take some away.
    """
    try:
        inspect.signature(function, follow_wrapped=False).bind(*arguments, **keywords)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def parameters_of(function: Callable[..., Any]) -> str:
    """The parameters that `takes` goes by, for messages."""
    return str(inspect.signature(function, follow_wrapped=False))


def call(function: Callable[..., Any], args: Any, kwargs: Any, last: Last) -> object:
    """Call a callable that `kind_of_generator` knows; return a generator, or an awaitable that gives one.

    A plain generator's value is taken in: what it returns may be its last update, as with callbacks that return.
    """
    if inspect.isasyncgenfunction(function):
        return function(*args, **kwargs)
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - that is what is called
    if kind_of_generator(function) == "plain" and not inspect.iscoroutinefunction(called):
        return _plainly(function, args, kwargs, last)
    made = function(*args, **kwargs)
    return _resolved(made, last) if inspect.isawaitable(made) else _generator_of(made, last)


def _plainly(function: Callable[..., Any], args: Any, kwargs: Any, last: Last) -> Generator[object, Any, None]:
    """Call it in the thread of the first step: a decorator around a plain generator function may block, too."""
    made = function(*args, **kwargs)
    value: object = (yield from cast("Generator[Any, Any, Any]", made)) if inspect.isgenerator(made) else made
    if value is not None and (said := last(value)) is not None:
        yield said


async def _resolved(made: Any, last: Last) -> object:
    return _generator_of(await made, last)


def _generator_of(made: object, last: Last) -> object:
    if inspect.isasyncgen(made):
        return made
    if inspect.isgenerator(made):
        return _plainly(lambda: made, (), {}, last)
    return _only(made, last)


async def _only(value: object, last: Last) -> AsyncIterator[object]:
    if value is not None and (said := last(value)) is not None:
        yield said


def _layers(function: object) -> Iterator[object]:
    """A callable, and what it decorates or stands in for, from the outside in."""
    seen: list[object] = []
    while function is not None and not any(function is one for one in seen):
        seen.append(function)
        yield function
        if isinstance(function, functools.partial):
            function = cast("object", function.func)
        elif (wrapped := getattr(function, "__wrapped__", None)) is not None:
            function = wrapped
        elif inspect.isroutine(function) or inspect.isclass(function):
            return
        else:
            function = getattr(function, "__call__", None)  # noqa: B004 - its bound method is wanted
