"""Finds out which kind of generator a callable of the user's makes, also behind decorators, and calls it.

Decorators may stand between `@event_callback` and the generator function: a login check or a stopwatch is an ordinary
function under `functools.wraps` that returns what it was given. And a `partial`, a bound method or an object with
`__call__` may stand in for a function. What such a callable makes is known only when it has been called. Mostly it is
the generator, or a coroutine that returns the generator. A login check that refuses returns a plain value, which is
then the only update of the stream.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal, cast

Kind = Literal["async", "plain"]

OnReturn = Callable[[object], object]
"""Given a value that was returned instead of yielded, returns what to yield for it; None for nothing."""


def is_generator_function(function: object) -> bool:
    """Whether `function` itself makes generators, async or plain ones."""
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def kind_of_generator(function: object) -> Kind | None:
    """Which kind of generator `function` makes, or what it decorates or stands in for; None if it makes none."""
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
    """Whether `function` can be called with these arguments; True as well if its signature is not known.

    The signature of a decorator counts, not that of what it decorates: it may add arguments, or take some away.
    """
    try:
        inspect.signature(function, follow_wrapped=False).bind(*arguments, **keywords)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def takes_keyword(function: Callable[..., Any], keyword: str, positional: int) -> bool:
    """Whether `function` takes an argument by this keyword, beside `positional` ones that are given without.

    True as well if its signature is not known.
    """
    try:
        parameters = [*inspect.signature(function, follow_wrapped=False).parameters.values()]
    except ValueError:
        return True
    by_position = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if any(each.name == keyword for each in by_position[:positional]):
        return False
    return any(
        each.kind is each.VAR_KEYWORD
        or (each.name == keyword and each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD))
        for each in parameters
    )


def takes_part_of(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
    """Whether `function` can be called with these arguments and perhaps more. See `takes`."""
    try:
        inspect.signature(function, follow_wrapped=False).bind_partial(*arguments, **keywords)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def parameters_of(function: Callable[..., Any]) -> str:
    """The parameters by which `takes` decides, for messages."""
    return str(inspect.signature(function, follow_wrapped=False))


def describe_call(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """A call as it would be written, but short; for messages."""
    return f"{name}({', '.join([*map(_short, args), *(f'{key}={_short(value)}' for key, value in kwargs.items())])})"


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def call(function: Callable[..., Any], args: Any, kwargs: Any, on_return: OnReturn) -> object:
    """Call a callable that `kind_of_generator` knows; return a generator, or an awaitable that gives one.

    What a plain generator returns goes to `on_return`: it may be the last update, as in a callback that returns.
    """
    if inspect.isasyncgenfunction(function):
        return function(*args, **kwargs)
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - that is what is called
    if kind_of_generator(function) == "plain" and not inspect.iscoroutinefunction(called):
        return _plainly(function, args, kwargs, on_return)
    made = function(*args, **kwargs)
    return _resolved(made, on_return) if inspect.isawaitable(made) else _generator_of(made, on_return)


def _plainly(function: Callable[..., Any], args: Any, kwargs: Any, on_return: OnReturn) -> Generator[object, Any, None]:
    """Call the function in the first step, which runs in the stream's thread: a decorator around it may block, too."""
    made = function(*args, **kwargs)
    value: object = (yield from cast("Generator[Any, Any, Any]", made)) if inspect.isgenerator(made) else made
    if value is not None and (update := on_return(value)) is not None:
        yield update


async def _resolved(made: Any, on_return: OnReturn) -> object:
    return _generator_of(await made, on_return)


def _generator_of(made: object, on_return: OnReturn) -> object:
    if inspect.isasyncgen(made):
        return made
    if inspect.isgenerator(made):
        return _plainly(lambda: made, (), {}, on_return)
    return _only(made, on_return)


async def _only(value: object, on_return: OnReturn) -> AsyncIterator[object]:
    if value is not None and (update := on_return(value)) is not None:
        yield update


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
