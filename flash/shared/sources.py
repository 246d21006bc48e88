"""Holds the sources that run: at most one for each feed and its arguments in one run of Trio.

    Feed ── join ─► the sources of this run of Trio, by key ── one of them, a task of an app's nursery

A feed belongs to no app. Its sources run in the nursery of the app that has been served longest among those of the
process that are not stopping, and end with that one. With several apps on one server it makes no difference which one
it is: they stop together. A process serves its apps in one run of Trio; where a test serves some in threads, each
with a run of its own, each run has its own sources.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from ..errors import FeedUnavailable
from ..options import DEFAULTS
from ..streams.limits import Limits
from ..user_code.containment import contain
from .follower import Follower
from .listing import FeedInfo, without_arguments
from .source import Source, SourceSpec

_log = logging.getLogger("flash.feeds")


@dataclass(eq=False, slots=True)
class Sources:
    """The sources that run in the nursery of one app.

    Attributes:
        nursery: returns the app's nursery.
        limits: what bounds the clean-up and the thread of each source.
        most: how many there may be.
        closing: the server stops, and none starts any more.
        is_served: the app is served.
    """

    nursery: Callable[[], trio.Nursery]
    limits: Limits = field(default_factory=Limits)
    most: int = DEFAULTS.sources_per_server
    closing: bool = False
    is_served: bool = False
    _running: dict[Source, None] = field(default_factory=lambda: dict[Source, None]())

    def begin(self) -> None:
        """The app is served from now on."""
        self.closing, self.is_served = False, True
        _served().append(self)

    def end(self) -> None:
        """The app is not served any more."""
        self.closing, self.is_served = True, False
        _served().remove(self)

    async def shut_down(self) -> None:
        """Start no more, end those that run, and return when each is over, or stuck.

        Followers that are left are told first: they raise FeedUnavailable.
        """
        self.closing = True
        running = list(self._running)
        for source in running:
            source.cancel()
        for source in running:
            await source.key_is_free.wait()

    def names(self) -> list[str]:
        """The feeds that run, with their arguments; may be asked from any thread."""
        return sorted(source.spec.name for source in list(self._running))

    def infos(self) -> list[FeedInfo]:
        """What `app.feeds()` lists, as far as it runs here."""
        return [source.info for source in self._running]

    def __len__(self) -> int:
        return len(self._running)

    def start(self, spec: SourceSpec, over: Callable[[Source], object]) -> Source:
        """Start a source.

        Args:
            spec: what it runs.
            over: is called when another source of the same arguments may start, and when the generator is over.

        Raises:
            FeedUnavailable: there are as many sources, or as many threads, as there may be.
        """
        if len(self._running) >= self.most:
            raise FeedUnavailable(
                f"The feed {spec.name} was not started: the server runs {len(self._running)} sources already. Follow "
                "fewer feeds, with fewer different arguments, or raise sources_per_server= of Flash(...)."
            )
        if spec.is_plain and self.limits.threads.held >= self.limits.threads.total:
            raise FeedUnavailable(
                f"The feed {spec.name} was not started: the server runs {self.limits.threads.held} plain generators "
                "already, and each has a thread for its life. Raise stream_threads= of Flash(...), or write the feed "
                "as `async def`."
            )

        def note(source: Source) -> None:
            if source.is_over and source in self._running:
                del self._running[source]
                _run().yielded[without_arguments(spec.name)] += source.values
            over(source)

        source = Source(spec, self.limits, note)
        self._running[source] = None
        message = f"What was started in the nursery of the feed {spec.name}, and is not its own, has failed."
        # In a context of its own: the follower's is that of some page and request.
        contextvars.Context().run(
            lambda: self.nursery().start_soon(contain, _log, message, source.run, name=f"feed {spec.name}")
        )
        return source


class _Run:
    """What is followed in one run of Trio.

    Attributes:
        served: the apps that are served, longest first.
        by_key: the sources, without those that are stuck.
        yielded: by the names of feeds, how many values their sources have yielded that are over.
    """

    def __init__(self) -> None:
        self.served: list[Sources] = []
        self.by_key: dict[Hashable, Source] = {}
        self.yielded: Counter[str] = Counter()

    def forget(self, key: Hashable, source: Source) -> None:
        """Another source of this key may start; one that was stuck has no key any more."""
        if self.by_key.get(key) is source:
            del self.by_key[key]


_RUN: trio.lowlevel.RunVar[_Run] = trio.lowlevel.RunVar("flash_feeds")


async def join(spec: SourceSpec, key: Hashable, follower: Follower[Any]) -> Source:
    """Have a follower follow the source of this key; start the source if it does not run.

    A source that cleans up is waited for, and another one is started then.

    Raises:
        FeedUnavailable: no app is served, all are stopping, or the source would be one too many.
    """
    await trio.lowlevel.checkpoint()
    run = _run()
    while (source := run.by_key.get(key)) is not None and not source.is_live:
        await source.key_is_free.wait()
    if source is None:
        source = run.by_key[key] = _app_of(run, spec.name).start(spec, partial(run.forget, key))
    source.add(follower)
    return source


def feeds() -> list[FeedInfo]:
    """The sources that run in this run of Trio, oldest first."""
    infos = [info for sources in _served() for info in sources.infos()]
    return sorted(infos, key=lambda info: -info.age)


def yielded() -> Mapping[str, int]:
    """How many values each feed has yielded in this run of Trio, by its name without arguments."""
    total = Counter(_run().yielded)
    for info in feeds():
        total[without_arguments(info.feed)] += info.values
    return total


def _app_of(run: _Run, name: str) -> Sources:
    """The app in whose nursery a source is to run."""
    for sources in run.served:
        if not sources.closing:
            return sources
    if run.served:
        raise FeedUnavailable(f"The feed {name} was not started: the server stops.")
    raise FeedUnavailable(
        f"The feed {name} was not started: no app of Flash is served here. Feeds run from when a server has begun the "
        "app's ASGI lifespan until it stops; a test can begin it with `async with app.server.test_app():`."
    )


def _run() -> _Run:
    try:
        return _RUN.get()
    except LookupError:
        run = _Run()
        _RUN.set(run)
        return run


def _served() -> list[Sources]:
    return _run().served
