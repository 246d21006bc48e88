"""Keeps what is served in one run of Trio: the apps, how to stop their server, and why it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from ..channels import Channels
from ..shared.sources import Sources
from .background import BackgroundWork

APPS = "flash_apps"
"""The key in the extensions of a server under which its Flash apps are listed."""


class Closing(Protocol):
    """Something that is shut down: it accepts nothing new, and waits until what it has is over.

    Attributes:
        closing: it accepts nothing new.
    """

    closing: bool

    async def shut_down(self) -> None: ...


class StreamingApp(Protocol):
    """What the lifespan and the shutdown of a server need of an app."""

    @property
    def channels(self) -> Channels: ...
    @property
    def sources(self) -> Sources: ...
    @property
    def background(self) -> BackgroundWork: ...
    @property
    def websockets(self) -> Closing: ...
    @property
    def controls(self) -> Closing: ...


@dataclass(eq=False, slots=True)
class Run:
    """What is served in one run of Trio.

    Attributes:
        apps: those whose lifespan has begun and not ended.
        on_start: called when the server that Flash has started serves.
        stop: stops the server that runs them; None if Flash did not start that server.
        failure: the exception for which the server stops, or did not start; None if it stops on request.
    """

    apps: list[StreamingApp] = field(default_factory=list[StreamingApp])
    on_start: Callable[[], None] = lambda: None
    stop: Callable[[], None] | None = None
    failure: BaseException | None = None

    @property
    def streams(self) -> int:
        return sum(app.channels.load.streams for app in self.apps)

    def running(self) -> list[str]:
        """The event callbacks, background tasks and feeds of which something runs; may be called from any thread."""
        named = [(*app.channels.callbacks(), *app.background.names(), *app.sources.names()) for app in list(self.apps)]
        return sorted({name for names in named for name in names})


_RUN: trio.lowlevel.RunVar[Run] = trio.lowlevel.RunVar("flash_run")


def current_run() -> Run:
    """What is served in this run of Trio."""
    try:
        return _RUN.get()
    except LookupError:
        run = Run()
        _RUN.set(run)
        return run


def begin_run(run: Run) -> None:
    """Make `run` the one that `current_run` returns in this run of Trio."""
    _RUN.set(run)
