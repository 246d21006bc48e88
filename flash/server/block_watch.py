"""Warns of event callbacks that block the event loop, while the dev tools are on."""

from __future__ import annotations

import logging
import time

import trio

from ..streams.stream import TASK_NAME

_log = logging.getLogger("flash.server")

BLOCKED = 0.1
"""Seconds that a step of a stream may block the event loop before a warning: from then on users notice a delay."""


class BlockWatch(trio.abc.Instrument):
    """Warns of generators that block the event loop, with their names."""

    def __init__(self) -> None:
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        held = time.perf_counter() - self._began
        if held > BLOCKED and task.name.startswith(TASK_NAME):
            _log.warning(
                "The event callback %r held the event loop for %.0f ms: nothing else ran meanwhile. Await "
                "trio.to_thread.run_sync for what blocks, or make it a plain `def` generator, which runs in a thread.",
                task.name.removeprefix(TASK_NAME),
                1_000 * held,
            )
