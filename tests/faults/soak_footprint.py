"""What the process of the soak holds, server and pages together, and whether that has grown."""

from __future__ import annotations

import gc
import inspect
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import AsyncGeneratorType, FrameType, GeneratorType
from typing import Any

import trio
import trio.lowlevel

from flash import Flash
from flash.nursery import Channel
from flash.streams.stream import Stream
from tests.faults import soak_app
from tests.support.live_objects import live_objects
from tests.support.serving import Server

SETTLE = 40.0
"""Seconds that the server has to come to rest when all pages have gone."""


@dataclass(frozen=True)
class Footprint:
    """What the process holds, server and pages together."""

    tasks: int
    open_files: int
    generators: int
    channels: int
    streams: int
    objects: int
    memory: int

    @classmethod
    def measure(cls, app: Flash) -> Footprint:
        """Of this process, which serves an app. To be called in the server's thread."""
        # Each look at all objects holds up the server, in a process that has many of them.
        looked_at = live_objects(AsyncGeneratorType, GeneratorType, Channel, Stream)
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return cls(
            tasks=len(list(tasks())),
            open_files=len(os.listdir("/proc/self/fd")),
            generators=sum(_is_ours(kept) for kept in looked_at),
            channels=sum(isinstance(kept, Channel) for kept in looked_at),
            streams=sum(isinstance(kept, Stream) for kept in looked_at) + len(app.streams()),
            objects=len(gc.get_objects()),
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
        )


def _is_ours(generator: Any) -> bool:
    """Whether an object is the generator of one of the soak's streams, and is not over."""
    if not isinstance(generator, AsyncGeneratorType | GeneratorType):
        return False
    code = generator.ag_code if inspect.isasyncgen(generator) else generator.gi_code
    frame: FrameType | None = generator.ag_frame if inspect.isasyncgen(generator) else generator.gi_frame
    return frame is not None and code.co_name in soak_app.KINDS and code.co_filename == soak_app.__file__


def tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of this run of Trio."""
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        yield task
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)


def settled(server: Server, empty: Footprint, baseline: Footprint | None = None) -> Footprint:
    """The server's footprint when it has come to rest, or when that has taken too long.

    Args:
        server: what serves the app of the soak.
        empty: the footprint before the first page: other tests may have left objects in this process.
        baseline: the footprint that it is to come back to; None if it is only to be at rest.
    """
    deadline = time.monotonic() + SETTLE
    while True:
        footprint = server.run(lambda: Footprint.measure(server.app))
        idle = all(getattr(footprint, each) <= getattr(empty, each) for each in ("channels", "streams", "generators"))
        if baseline is not None:
            idle = idle and footprint.tasks <= baseline.tasks and footprint.open_files <= baseline.open_files
        if (idle and (baseline is not None or _is_at_rest(server, footprint))) or time.monotonic() > deadline:
            return footprint
        time.sleep(0.1)


def _is_at_rest(server: Server, footprint: Footprint) -> bool:
    """Whether nothing changes any more: the connections that have just been closed are gone, too."""
    time.sleep(0.5)
    later = server.run(lambda: Footprint.measure(server.app))
    return (later.tasks, later.open_files) == (footprint.tasks, footprint.open_files)


def growth(before: Footprint, after: Footprint, streams: int) -> list[str]:
    """What is more than it was. What runs by the thousand must not leave an object or a kilobyte each."""
    allowed = {
        "tasks": 0,
        "open_files": 0,
        "generators": 0,
        "channels": 0,
        "streams": 0,
        "objects": 3_000 + streams // 10,
        "memory": 32_000_000 + streams * 512,
    }
    return [
        f"{name} grew from {getattr(before, name)} to {getattr(after, name)}"
        for name, room in allowed.items()
        if getattr(after, name) > getattr(before, name) + room
    ]
