"""Finds the tasks that wait for something outside of Trio: a thread that works, or asyncio.

While such work goes on a virtual clock must stand still. Otherwise it would run past every deadline in the milliseconds
that the work takes, and a stream would be timed out because a function slept in a thread.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import trio

from ..asyncio_bridge.thread import AsyncioThread
from ..streams.stream import TASK_NAME
from ..streams.thread import StreamThread
from ..user_code.first_wait import when_suspended

_FLASH = str(Path(__file__).parents[1])
_TRIO = str(Path(trio.__file__).parent)


def _code(function: object) -> CodeType:
    unwrapped = inspect.unwrap(function)  # pyright: ignore[reportArgumentType] - any function has `__code__`
    assert inspect.isfunction(unwrapped)
    return unwrapped.__code__


_IN_THREAD = _code(trio.to_thread.run_sync)
_IN_ASYNCIO = _code(AsyncioThread.ask)
_OBSERVING = _code(when_suspended)
_BLOCKED = _code(trio.lowlevel.wait_task_rescheduled)


def all_tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of this run of Trio."""
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def frames_of(task: trio.lowlevel.Task) -> list[tuple[FrameType, int]]:
    """What a task awaits, outermost first: each frame, and the line at which it stands.

    As Trio's `iter_await_frames`, but it also finds the coroutine that `when_suspended` awaits.
    """
    frames: list[tuple[FrameType, int]] = []
    awaited: Any = task.coro
    while awaited is not None:
        if inspect.iscoroutine(awaited):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif inspect.isgenerator(awaited):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
            if frame is not None and frame.f_code is _OBSERVING:
                awaited = frame.f_locals.get("steps")
        else:
            # Python does not say of which generator an `asend()` or `athrow()` is a step.
            generator = next(filter(inspect.isasyncgen, gc.get_referents(awaited)), None)
            if generator is None:
                break
            frame, awaited = generator.ag_frame, generator.ag_await
        if frame is not None:
            frames.append((frame, frame.f_lineno))
    return frames


def waits_outside(task: trio.lowlevel.Task) -> bool:
    """Whether a task waits for a thread that works, or for asyncio."""
    frames = [frame for frame, _ in frames_of(task)]
    for frame, inner in pairwise(frames):
        if frame.f_code is _IN_ASYNCIO:
            return True
        if frame.f_code is _IN_THREAD and inner.f_code is _BLOCKED:
            # The thread of a plain generator lives as long as its stream, and mostly has nothing to do.
            threads = [each.f_locals.get("self") for each in frames]
            return all(thread.is_working for thread in threads if isinstance(thread, StreamThread))
    return False


def place_of(task: trio.lowlevel.Task) -> str | None:
    """Where in the user's code a task waits: file and line; None if it has come to none of it."""
    return place_in(frames_of(task))


def place_in_thread(task: trio.lowlevel.Task) -> str | None:
    """Where in the user's code the thread is that a task waits for."""
    threads = [frame.f_locals.get("self") for frame, _ in frames_of(task)]
    return next((_place_in_thread(each) for each in threads if isinstance(each, StreamThread)), None)


def place_in(frames: list[tuple[FrameType, int]]) -> str | None:
    """The innermost of these frames that is the user's code: file and line; None if none is."""
    for frame, line in reversed(frames):
        code = frame.f_code
        if not code.co_filename.startswith((_FLASH, _TRIO, "<frozen")) and "site-packages" not in code.co_filename:
            return f"{code.co_filename}:{line} (in {code.co_qualname})"
    return None


def place_of_failure(error: BaseException) -> str | None:
    """Where in the user's code an exception was raised: file and line; None if that is not in it."""
    frames: list[tuple[FrameType, int]] = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return place_in(frames)


def where(callback: str) -> str:
    """Where the streams of an event callback wait, for messages."""
    tasks = [task for task in all_tasks() if task.name == TASK_NAME + callback]
    places = [place for task in tasks for each in _with_children(task) if (place := place_of(each)) is not None]
    threads = [frame.f_locals.get("self") for task in tasks for frame, _ in frames_of(task)]
    places += [place for each in threads if isinstance(each, StreamThread) and (place := _place_in_thread(each))]
    return f"it waits at {', and at '.join(places)}" if places else "it waits at a `yield`"


def _place_in_thread(thread: StreamThread) -> str | None:
    """Where in the user's code the thread of a plain generator is."""
    for innermost in sys._current_frames().values():  # pyright: ignore[reportPrivateUsage] - Python documents it
        frames: list[tuple[FrameType, int]] = []
        frame: FrameType | None = innermost
        while frame is not None:
            frames.insert(0, (frame, frame.f_lineno))
            frame = frame.f_back
        if any(frame.f_locals.get("self") is thread for frame, _ in frames):
            return place_in(frames)
    return None


def _with_children(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return [task, *(inner for child in children for inner in _with_children(child))]
