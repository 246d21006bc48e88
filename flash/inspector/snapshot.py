"""Says what one worker runs at a moment, as values that JSON can hold: browsers, their pages, streams, sources, tasks.

    worker ── browsers ── pages ── streams ── tasks
      └────── sources of feeds       (and the ends of those that are over)

A snapshot is made when somebody looks, from what the objects know anyway, and refers to none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import trio

from ..channels import Channels
from ..nursery import Channel
from ..shared.listing import FeedInfo
from ..streams.page_view import PageView
from ..streams.stream import Stream
from .ends import Ends
from .waiting import line_of

Snapshot = dict[str, Any]

MOST_STREAMS = 500
"""Streams of a worker of which a snapshot says more than their number: a page cannot show thousands at a glance."""

DEPTH = 5
"""How many nurseries deep a snapshot follows the tasks of a stream."""


def take_snapshot(channels: Channels, feeds: Iterable[FeedInfo], ends: Ends) -> Snapshot:
    """What this worker runs.

    Returns:
        A dict with
        `streams` and `pages`: how many there are;
        `browsers`: a list of dicts, each with `browser` (a name that tells it from others, not its secret) and `pages`;
        `sources`: what `app.feeds()` lists;
        `ends`: the last streams that ended, newest first.
    """
    browsers: dict[str, list[Snapshot]] = {}
    left = MOST_STREAMS
    for channel in channels.pages():
        view = channel.look()
        shown = view.streams[:left]
        left -= len(shown)
        browsers.setdefault(view.browser, []).append(_page(channel, view, shown))
    return {
        "pages": len(channels),
        "streams": channels.load.streams,
        "browsers": [
            {"browser": sha256(browser.encode()).hexdigest()[:8], "pages": pages} for browser, pages in browsers.items()
        ],
        "sources": [asdict(info) for info in feeds],
        "ends": [asdict(ended) for ended in ends.last],
    }


def _page(channel: Channel, view: PageView, shown: list[Stream]) -> Snapshot:
    of_streams = {stream.task for stream in view.streams}
    return {
        "page": view.page,
        "is_linked": view.is_linked,
        "unacknowledged": view.unacknowledged,
        "left_out": len(view.streams) - len(shown),
        "streams": [_stream(channel, stream) for stream in shown],
        "tasks": [_task(task, DEPTH) for task in view.tasks if task not in of_streams],
    }


def _stream(channel: Channel, stream: Stream) -> Snapshot:
    inner = [] if stream.task is None else stream.task.child_nurseries
    reason = stream.scope.reason
    return {
        **asdict(channel.describe(stream)),
        "bytes": stream.buffer.bytes,
        "reason": None if reason is None else str(reason),
        "line": line_of(stream.generator),
        "tasks": _tasks(inner, DEPTH),
    }


def _tasks(nurseries: Iterable[trio.Nursery], depth: int) -> list[Snapshot]:
    return [_task(task, depth) for nursery in nurseries for task in nursery.child_tasks]


def _task(task: trio.lowlevel.Task, depth: int) -> Snapshot:
    return {
        "name": task.name,
        "line": line_of(task.coro),
        "tasks": _tasks(task.child_nurseries, depth - 1) if depth > 1 else [],
    }
