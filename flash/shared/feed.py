"""The decorator `feed`: makes a generator function a feed, of which one run serves all who follow it.

    prices("KELP") ── its arguments are the key ── sources.join ── the one source of that key

Everything that can be checked is checked when the decorator runs, and when the feed is called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from ..errors import InvalidFeed
from ..user_code.functions import call, describe_call, kind_of_generator, name_of
from .follower import Follower
from .memory import LastValues
from .options import FeedOptions, Overflow
from .source_spec import SourceSpec
from .sources import join

P = ParamSpec("P")
T = TypeVar("T")


class Feed(Generic[P, T]):
    """A feed. Called with its arguments it returns a `Follower`, for `async with`, or for `with` in a thread.

    Attributes:
        __wrapped__: the generator function.
    """

    def __init__(
        self, function: Callable[P, AsyncIterator[T]] | Callable[P, Iterator[T]], options: FeedOptions
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options
        self._name = name_of(function)
        self._signature = inspect.signature(function, follow_wrapped=False)
        self._is_plain = kind_of_generator(function) == "plain"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Follower[T]:
        """One follower of the feed with these arguments.

        Raises:
            TypeError: the function cannot be called with them.
            InvalidFeed: they cannot be told from others, such as a list.
        """
        name = describe_call(self._name, args, kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        key = self._key(name, bound)
        spec = SourceSpec(
            name=name,
            generator=functools.partial(call, self._function, args, kwargs, _ignore),
            is_plain=self._is_plain,
            options=self._options,
            memory=lambda: LastValues(self._options.keep),
        )
        return Follower(name, self._options, lambda follower: join(spec, key, follower))

    def __repr__(self) -> str:
        return f"<feed {self._name}>"

    def _key(self, name: str, bound: inspect.BoundArguments) -> Hashable:
        """What tells the source of these arguments from those of others."""
        try:
            key = (self, _typed(bound.args), _typed(tuple(sorted(bound.kwargs.items()))))
            hash(key)
        except Exception as error:
            raise InvalidFeed(
                f"The feed {name} cannot be followed: all who give the same arguments follow one source, and these "
                f"cannot be compared ({error}). Give it strings, numbers and tuples instead of lists, dicts and arrays."
            ) from error
        return key


class FeedDecorator:
    """What `feed(...)` returns: makes a feed of a generator function, with the options that it has."""

    def __init__(self, options: FeedOptions) -> None:
        self._options = options

    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]], /) -> Feed[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[T]], /) -> Feed[P, T]: ...
    def __call__(self, function: Any, /) -> Any:
        if isinstance(function, Feed):
            raise InvalidFeed(f"{function!r} is a feed already.")
        if not callable(function):
            raise InvalidFeed(
                f"@feed stands over a generator function, got {function!r}. Options have names: @feed(linger=5)."
            )
        if kind_of_generator(function) is None:
            raise InvalidFeed(
                f"{name_of(function)!r} is not a generator function: a feed is one that yields its values, one after "
                "the other."
            )
        return Feed[Any, Any](cast("Callable[..., AsyncIterator[Any]]", function), self._options)


@overload
def feed(function: Callable[P, AsyncIterator[T]], /) -> Feed[P, T]: ...
@overload
def feed(function: Callable[P, Iterator[T]], /) -> Feed[P, T]: ...
@overload
def feed(
    *,
    linger: float = 0,
    buffer: int = 100,
    overflow: Overflow = "newest",
    keep: int = 0,
    retry: float | None = None,
    retries: int | None = 10,
) -> FeedDecorator: ...
def feed(
    function: Any = None,
    /,
    *,
    linger: float = 0,
    buffer: int = 100,
    overflow: Overflow = "newest",
    keep: int = 0,
    retry: float | None = None,
    retries: int | None = 10,
) -> Any:
    """Make a generator function a feed: one run of it serves all who follow it with the same arguments.

        @feed(linger=5)
        async def prices(symbol):
            async with open_websocket_url(f"wss://exchange/{symbol}") as ws:
                while True:
                    yield json.loads(await ws.get_message())

        @event_callback(Input("symbol", "value"))
        async def live(symbol):
            async with prices(symbol) as ticks:
                async for tick in ticks:
                    yield stream_props("price", {"children": tick["last"]})

    The generator function is async, or plain: then it runs in a thread. Its run starts with the first follower, and
    ends when the last one has left. All followers get the same objects, and are not to change them.

    Args:
        linger: seconds for which it goes on without followers.
        buffer: how many values may wait for each follower.
        overflow: what happens to a follower for which so many wait: `"newest"` drops the oldest of them, with `"wait"`
            the generator waits at its `yield`, and with `"fail"` the follower raises `FeedOverrun`.
        keep: how many of the last values a new follower is given first.
        retry: seconds until a generator that has raised is started again. They double with each failure up to a minute,
            and begin anew when it has yielded. None: it is not, and its followers raise `FeedFailed`.
        retries: how many failures in a row are followed by another start; None for any number. Then the followers raise
            `FeedFailed`.

    Raises:
        InvalidFeed: one of these is malformed, or what is decorated is not a generator function.
    """
    options = FeedOptions(linger=linger, buffer=buffer, overflow=overflow, keep=keep, retry=retry, retries=retries)
    decorator = FeedDecorator(options)
    return decorator if function is None else decorator(function)


def _ignore(value: object) -> None:
    """What a plain generator returns is no value of the feed."""


def _typed(value: object) -> Hashable:
    """The value with its type, also within tuples: `1 == True`, and is no sign that the two mean the same."""
    if type(value) is tuple:
        return tuple(map(_typed, cast("tuple[object, ...]", value)))
    if value != value:  # noqa: PLR0124 - a NaN shows itself by that
        raise TypeError(f"{value!r} is not equal to itself")
    return type(value), value
