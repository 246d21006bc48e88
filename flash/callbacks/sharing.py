"""How the streams of an event callback are shared: the options that say so, and the scope of a start.

    shared= ── the scope of a start ─┐
    Inputs, States, MATCH ───────────┴─ the key of a source

Streams follow one source if they are of the same event callback, its Inputs and States have the same values, MATCH has
matched the same, and their scope is the same: everybody, one browser, or what the user's function returns. Inputs and
States are what the client says, and a browser is not a user: only the function can keep one user's source from another.
Counters (`n_*` properties) tell no sources apart, since each click would make another one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple, cast

import trio
from werkzeug.exceptions import HTTPException

from ..errors import InvalidEventCallback, RequestRefused
from ..options import SECONDS_OR_ZERO
from ..shared.options import FeedOptions
from ..user_code.containment import log_failure
from ..user_code.functions import describe_call, name_of, parameters_of, takes
from ..user_code.threads import in_thread

_log = logging.getLogger("flash.streams")

THREADS = 40
"""How many plain functions run at a time, for each event callback. A start beyond that waits."""

Shared = Literal["all", "browser"] | Callable[[Any], Any] | None
"""What `shared=` may be."""

COUNTER = "n_"
"""What the names of the properties begin with that count, and tell no sources apart."""


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom one source is.

    Attributes:
        key: tells this scope from others.
        keywords: what the generator is given besides the values of its Inputs and States.
    """

    key: Hashable
    keywords: Mapping[str, str] = field(default_factory=dict[str, str])


class Sharing(NamedTuple):
    """`shared=`, `linger=` and `resume=` of an event callback.

    Attributes:
        name: of the event callback, for messages.
        scope: whose pages follow one source: `"all"`, `"browser"`, or a function of the request.
        ask: calls the function; None if there is none.
        options: those of the source, of which `linger` counts.
        resume: a page that is loaded follows the source that still runs.
    """

    name: str
    scope: Any
    ask: Callable[[Any], Awaitable[object]] | None
    options: FeedOptions
    resume: bool

    @classmethod
    def check(cls, name: str, shared: object, linger: Any, resume: object, has_match: bool) -> Sharing | None:
        """What the user wrote, checked; None if the streams are not shared."""
        if not isinstance(resume, bool):
            raise InvalidEventCallback(f"resume of {name!r} is to be True or False, got {resume!r}.")
        if not SECONDS_OR_ZERO.allow(linger):
            raise InvalidEventCallback(f"linger of {name!r} is to be {SECONDS_OR_ZERO.description}, got {linger!r}.")
        if shared is None:
            for option, value in (("linger", linger), ("resume", resume)):
                if value:
                    raise InvalidEventCallback(
                        f"{option}= of {name!r} is for shared streams, whose source outlives a page: give it shared=."
                    )
            return None
        ask = None
        if callable(shared):
            # It may ask a database.
            ask = shared if iscoroutinefunction(shared) else in_thread(shared, trio.CapacityLimiter(THREADS))
            if not takes(shared, None):
                raise InvalidEventCallback(
                    f"shared of {name!r} is called with one argument, the request, which {name_of(shared)!r} does not "
                    f"take: it has the parameters {parameters_of(shared)}. Write `def of_user(request): ...`."
                )
        elif shared not in ("all", "browser"):
            raise InvalidEventCallback(
                f'shared of {name!r} is to be "all", "browser" or a function of the request, got {shared!r}.'
            )
        if resume and has_match:
            raise InvalidEventCallback(
                f"{name!r} has MATCH in its Inputs and resume=True: a page cannot know which sources to ask for."
            )
        return cls(name, shared, ask, FeedOptions(linger=linger), resume)

    @property
    def stops_all(self) -> bool:
        """Where a condition ends one stream, it ends all that follow the same source."""
        return self.scope == "browser"

    async def scope_of(self, request: Any, browser: str) -> Scope:
        """The scope of a start.

        Args:
            request: Quart's, or its websocket.
            browser: the secret of the browser that sends it.

        Raises:
            RequestRefused: the user's function has raised, or has returned something else than strings.
        """
        if self.ask is None:
            return Scope(("browser", browser) if self.scope == "browser" else "all")
        try:
            returned = await self.ask(request)
        except RequestRefused:
            raise
        except Exception as error:
            raise self._refused(error) from None
        # What stands for a string, such as a proxy of a request's, is not to outlive the request: hence `str`.
        if isinstance(returned, str):
            return Scope(("function", str(returned)))
        if isinstance(returned, dict):
            entries = cast("dict[Any, Any]", returned).items()
            if all(isinstance(text, str) for entry in entries for text in entry):
                keywords = {str(name): str(text) for name, text in entries}
                return Scope(("function", tuple(sorted(keywords.items()))), keywords)
        _log.error(
            "%r was not started: its function in shared= returned a %s. It is to return a string or a dict of strings.",
            self.name,
            # Of a proxy, the type of what it stands for.
            cast("object", returned).__class__.__name__,
        )
        raise RequestRefused(500, f"{self.name!r} was not started: its function in shared= returned no string.")

    def _refused(self, error: Exception) -> RequestRefused:
        """What becomes of an exception of the user's function."""
        message = f"{self.name!r} was not started: its function in shared= has refused it."
        if isinstance(error, HTTPException) and error.code is not None:
            _log.info("%s It has answered %s.", message, error.code)
            return RequestRefused(error.code, message)
        log_failure(_log, error, "%r was not started: its function in shared= raised.", self.name)
        return RequestRefused(500, message)

    def check_call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Raise RequestRefused if what the user's function has returned does not fit the generator function."""
        if callable(self.scope) and not takes(function, *args, **kwargs):
            _log.error(
                "%r was not started: with what its function in shared= returned, it would be called as %s. It has the "
                "parameters %s.",
                self.name,
                describe_call(self.name, args, kwargs),
                parameters_of(function),
            )
            raise RequestRefused(500, f"{self.name!r} was not started: its function in shared= does not fit it.")
