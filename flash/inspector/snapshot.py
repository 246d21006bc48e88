"""Says what one worker runs at a moment, as values that JSON can hold: browsers, their pages, streams, sources, tasks.

    worker ── browsers ── pages ── streams ── tasks
      └────── sources of feeds and shared streams       (and the ends of streams that are over)

A stream that follows a source waits at no line of the app's: the generator runs in the task of the source.

A snapshot is made when somebody looks, from what the objects know anyway, and refers to none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import trio

from ..channels import Channels
from ..nursery import Channel
from ..shared.source import Source
from ..streams.page_view import PageView
from ..streams.stream import Stream
from .ends import Ends
from .waiting import line_of

Snapshot = dict[str, Any]

MOST_STREAMS = 500
"""Streams of a worker of which a snapshot says more than their number: a page cannot show thousands at a glance."""

DEPTH = 5
"""How many nurseries deep a snapshot follows the tasks of a stream."""


def take_snapshot(channels: Channels, sources: Iterable[Source], ends: Ends) -> Snapshot:
    """What this worker runs.

    Returns:
        A dict with
        `streams` and `pages`: how many there are;
        `browsers`: a list of dicts, each with `browser` (a name that tells it from others, not its secret) and `pages`;
        `feeds`: what `app.feeds()` lists, and for each source the `line` at which its generator waits;
        `shared_streams`: the same of `app.shared_streams()`;
        `ends`: the last streams that ended, newest first.
    """
    of_feeds: list[Snapshot] = []
    shared: list[Snapshot] = []
    for source in sources:
        if source.spec.kind == "feed":
            of_feeds.append({**asdict(source.info), "line": line_of(source.generator)})
        else:
            shared.append({**asdict(source.shared_stream_info), "line": line_of(source.generator)})
    names = {source["id"]: source["source"] for source in shared}
    browsers: dict[str, list[Snapshot]] = {}
    left = MOST_STREAMS
    for channel in channels.pages():
        view = channel.look()
        shown = view.streams[:left]
        left -= len(shown)
        browsers.setdefault(view.browser, []).append(_page(channel, view, shown, names))
    return {
        "pages": len(channels),
        "streams": channels.load.streams,
        "browsers": [
            {"browser": sha256(browser.encode()).hexdigest()[:8], "pages": pages} for browser, pages in browsers.items()
        ],
        "feeds": of_feeds,
        "shared_streams": shared,
        "ends": [asdict(ended) for ended in ends.last],
    }


def _page(channel: Channel, view: PageView, shown: list[Stream], names: Mapping[str, str]) -> Snapshot:
    of_streams = {stream.task for stream in view.streams}
    return {
        "page": view.page,
        "is_linked": view.is_linked,
        "unacknowledged": view.unacknowledged,
        "left_out": len(view.streams) - len(shown),
        "streams": [_stream(channel, stream, names) for stream in shown],
        "tasks": [_task(task, DEPTH) for task in view.tasks if task not in of_streams],
    }


def _stream(channel: Channel, stream: Stream, names: Mapping[str, str]) -> Snapshot:
    inner = [] if stream.task is None else stream.task.child_nurseries
    reason = stream.scope.reason
    source = stream.source
    return {
        **asdict(channel.describe(stream)),
        "bytes": stream.buffer.bytes,
        "reason": None if reason is None else str(reason),
        "line": line_of(stream.generator),
        "follows": None if source is None else names.get(source),
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
