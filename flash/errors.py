"""Defines the exceptions of Flash, all of them subclasses of `FlashError`.

Each message says what happened, in which callback, and what to do about it.
`StreamCancelled` lives in `cancel_scopes`, beside the reasons that it carries.
"""

from __future__ import annotations


class FlashError(Exception):
    """The base class of every exception of Flash."""


class InvalidOption(FlashError, ValueError):
    """An option of `Flash(...)` or `app.background`, an argument of `app.end_streams`, or the interval of `every`, has
    a value that cannot be used.
    """


class WrongServer(FlashError):
    """The app is served by, or was given, something that does not run on Trio."""


class InvalidEventCallback(FlashError):
    """`@event_callback` was given something that it cannot use."""


class InvalidUpdate(FlashError):
    """`stream_props(...)` was called wrongly, or a stream yielded something else than an update."""


class BufferOverrun(FlashError):
    """A stream sent updates with `set_props` without ever coming to a `yield`."""


class InvalidFeed(FlashError):
    """`@feed` was given something that it cannot use, or a feed was followed wrongly."""


class FeedUnavailable(FlashError):
    """A feed cannot be followed: no server runs, it is stopping, or it has as many sources as it may.

    `status` is the HTTP status by which a request that needs the source is answered.
    """

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.status = status


class SharedStreamUnavailable(FlashError):
    """A shared stream cannot be followed.

    The server is stopping, has as many sources as it may, or what the stream has sent is too large for a page that
    joins. `status` is the HTTP status by which a request that needs the source is answered.
    """

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.status = status


class FeedFailed(FlashError):
    """The source of a feed has raised. `__cause__` is what it raised; each follower has a `FeedFailed` of its own."""


class SharedStreamFailed(FlashError):
    """The generator of a shared stream has raised `__cause__`, which cannot be copied for each of its followers."""


class FeedOverrun(FlashError):
    """A follower of a feed with `overflow="fail"` did not take the values in time."""


class SharedStreamOverrun(FlashError):
    """The page of a shared stream is so far behind that an update would be missing."""


class ForeignCancellation(FlashError):
    """A stream was cancelled by a scope that was not around it: see "Generators within generators" in the docs."""


class RequestRefused(FlashError):
    """A request cannot be served; `status` is the HTTP status of the answer, the message its body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AsyncioCancelled(FlashError):
    """A task of asyncio's was cancelled, but not by Flash: by itself, or by something that it waited for."""
