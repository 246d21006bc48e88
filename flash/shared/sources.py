"""Holds the sources that run: at most one for each key in one run of Trio.

    Feed          ─┐
                   ├─ join ─► the sources of this run of Trio, by key ── one of them, a task of an app's nursery
    shared stream ─┘

The source of a shared stream runs in the nursery of its app. A feed belongs to no app: its sources run in the nursery
of the app that has been served longest among those of the process that are not stopping, and end with that one. With
several apps on one server it makes no difference which one it is: they stop together. A process serves its apps in one
run of Trio; where a test serves some in threads, each with a run of its own, each run has its own sources.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

import trio

from ..errors import FeedUnavailable
from ..options import DEFAULTS
from ..streams.limits import Limits
from ..user_code.containment import contain
from .failures import UNAVAILABLE, unavailable
from .following import SourceFollower
from .listing import FeedInfo, SharedStreamInfo, without_arguments
from .source import Source
from .source_spec import SourceSpec

_log = logging.getLogger("flash.feeds")


@dataclass(eq=False, slots=True)
class Sources:
    """The sources that run in the nursery of one app.

    Attributes:
        nursery: returns the app's nursery.
        limits: what bounds the clean-up and the thread of each source.
        most: how many there may be.
        most_per_browser: how many of them one browser may have started.
        closing: the server stops, and none starts any more.
        is_served: the app is served.
    """

    nursery: Callable[[], trio.Nursery]
    limits: Limits = field(default_factory=Limits)
    most: int = DEFAULTS.sources_per_server
    most_per_browser: int = DEFAULTS.sources_per_browser
    closing: bool = False
    is_served: bool = False
    _running: dict[Source, None] = field(default_factory=lambda: dict[Source, None]())
    _of_browser: Counter[str] = field(default_factory=Counter[str])

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

        Followers that are left are told first: they raise one of `UNAVAILABLE`.
        """
        self.closing = True
        running = list(self._running)
        for source in running:
            source.cancel()
        for source in running:
            await source.key_is_free.wait()

    def names(self) -> list[str]:
        """What runs, with its arguments; may be asked from any thread."""
        return sorted(source.spec.name for source in list(self._running))

    def running(self) -> list[Source]:
        """The sources themselves, oldest first."""
        return list(self._running)

    def infos(self) -> list[FeedInfo]:
        """What `app.feeds()` lists, as far as it runs here."""
        return [source.info for source in self._running if source.spec.kind == "feed"]

    def shared_stream_infos(self) -> list[SharedStreamInfo]:
        """What `app.shared_streams()` lists: the sources of shared streams, oldest first."""
        return [source.shared_stream_info for source in self._running if source.spec.kind != "feed"]

    def __len__(self) -> int:
        return len(self._running)

    def check(self, spec: SourceSpec, ending: Collection[Source] = ()) -> None:
        """Check that a source may start.

        Args:
            spec: what it is to run.
            ending: those that will have ended by then.

        Raises:
            UNAVAILABLE: there are as many sources, or as many threads, as there may be, or the server stops.
        """
        what = f"The {spec.kind} {spec.name} was not started"
        if self.closing:
            raise unavailable(spec.kind, f"{what}: the server stops.")
        running = len(self._running) - len(ending)
        if running >= self.most:
            raise unavailable(
                spec.kind,
                f"{what}: the server runs {running} sources already. Follow fewer feeds and shared streams, "
                "with fewer different arguments, or raise sources_per_server= of Flash(...).",
            )
        browser = spec.browser
        if browser is not None:
            of_browser = self._of_browser[browser] - sum(source.spec.browser == browser for source in ending)
            if of_browser >= self.most_per_browser:
                raise unavailable(
                    spec.kind,
                    f"{what}: this browser has started {of_browser} sources that still run. Let some end first, "
                    "shorten linger=, or raise sources_per_browser= of Flash(...).",
                    429,
                )
        threads = self.limits.threads
        held = threads.held - sum(source.spec.is_plain for source in ending)
        if spec.is_plain and held >= threads.total:
            raise unavailable(
                spec.kind,
                f"{what}: the server runs {held} plain generators already, and each has a thread for its life. Raise "
                "stream_threads= of Flash(...), or write it as `async def`.",
            )

    def to_wait_for(self, spec: SourceSpec) -> Source | None:
        """A source that cleans up, where a new one has no room before one ends; None if the new one is not to wait."""
        try:
            self.check(spec)
        except UNAVAILABLE:
            return next((source for source in self._running if source.is_unwinding), None)
        return None

    def start(self, spec: SourceSpec, over: Callable[[Source], object]) -> Source:
        """Start a source.

        Args:
            spec: what it runs.
            over: is called when another source of the same arguments may start, and when the generator is over.

        Raises:
            UNAVAILABLE: see `check`.
        """
        self.check(spec)

        def note(source: Source) -> None:
            if source.is_over and source in self._running:
                del self._running[source]
                if spec.kind == "feed":
                    _run().yielded[without_arguments(spec.name)] += source.values
                self._count(spec.browser, -1)
            over(source)

        source = Source(spec, self.limits, note)
        self._running[source] = None
        self._count(spec.browser, 1)
        message = f"What was started in the nursery of the {spec.kind} {spec.name}, and is not its own, has failed."
        # In a context of its own: the follower's is that of some page and request.
        contextvars.Context().run(
            lambda: self.nursery().start_soon(contain, _log, message, source.run, name=f"{spec.kind} {spec.name}")
        )
        return source

    def _count(self, browser: str | None, more: int) -> None:
        if browser is not None:
            self._of_browser[browser] += more
            if not self._of_browser[browser]:
                del self._of_browser[browser]


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


async def join(
    spec: SourceSpec,
    key: Hashable,
    follower: SourceFollower,
    app: Sources | None = None,
    *,
    starts_anew: bool = False,
    waits_for_room: bool = False,
) -> Source:
    """Have a follower follow the source of this key; start the source if it does not run.

    A source that cleans up is waited for, and another one is started then.

    Args:
        spec: what the source runs.
        key: what tells it from others.
        follower: is to follow it.
        app: in whose nursery the source runs; None for the app that has been served longest.
        starts_anew: a source that is kept for its end makes room for another one.
        waits_for_room: where there may be no more sources, wait for those that clean up.

    Raises:
        UNAVAILABLE: no app is served, all are stopping, the source would be one too many, or cannot be joined.
    """
    await trio.lowlevel.checkpoint()
    run = _run()
    while (source := await _find(run, key, starts_anew)) is None:
        sources = app or _app_of(run, spec.name)
        ending = sources.to_wait_for(spec) if waits_for_room else None
        if ending is None:
            source = run.by_key[key] = sources.start(spec, partial(run.forget, key))
            break
        await ending.key_is_free.wait()
    _add(source, follower)
    return source


async def rejoin(key: Hashable, follower: SourceFollower, found: Source) -> Source | None:
    """Have a follower follow the source of this key, and start none.

    Args:
        key: what tells the source from others.
        follower: is to follow it.
        found: the source that there was a moment ago. If it has finished since, and no other one runs, the follower
            gets its state and its end.

    Returns:
        The source; None if there is none to follow any more.

    Raises:
        UNAVAILABLE: the source cannot be joined.
    """
    await trio.lowlevel.checkpoint()
    source = await _find(_run(), key)
    if source is None:
        if not found.has_finished:
            return None
        source = found
    _add(source, follower)
    return source


async def _find(run: _Run, key: Hashable, starts_anew: bool = False) -> Source | None:
    """The source of this key that can be followed; None if another one may start. See `join`."""
    while (source := run.by_key.get(key)) is not None:
        if source.is_kept and starts_anew:
            source.cancel()
        elif source.can_be_followed:
            return source
        else:
            await source.key_is_free.wait()
    return None


def _add(source: Source, follower: SourceFollower) -> None:
    if source.memory.refusal is not None:
        raise unavailable(source.spec.kind, source.memory.refusal)
    source.add(follower)


def source_of(key: Hashable) -> Source | None:
    """The source of this key that runs, cleans up or is kept for its end."""
    return _run().by_key.get(key)


def feeds() -> list[FeedInfo]:
    """The sources that run in this run of Trio, oldest first."""
    infos = [info for sources in _served() for info in sources.infos()]
    return sorted(infos, key=lambda info: -info.age)


def sources_for(app: Sources) -> list[Source]:
    """The sources that run for an app: those of feeds, which belong to no app, and of its shared streams."""
    of_feeds = [source for sources in _served() for source in sources.running() if source.spec.kind == "feed"]
    return of_feeds + [source for source in app.running() if source.spec.kind != "feed"]


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
