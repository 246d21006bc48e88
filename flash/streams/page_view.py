"""Says what runs for a page at a moment: for `app.streams()`, and for the inspector."""

from __future__ import annotations

from typing import NamedTuple

import trio

from .limits import StreamInfo
from .stream import Stream


class PageView(NamedTuple):
    """What runs for a page at a moment. It is made to be looked at, and not to be kept.

    Attributes:
        browser: the secret of its browser.
        page: the first characters of its token.
        is_linked: it has a link.
        unacknowledged: bytes that were sent to it, and that it has not acknowledged.
        streams: those that run.
        tasks: those in its nursery, the streams' own and their helpers' included.
    """

    browser: str
    page: str
    is_linked: bool
    unacknowledged: int
    streams: list[Stream]
    tasks: list[trio.lowlevel.Task]


def info_of(stream: Stream, page: str) -> StreamInfo:
    """What `app.streams()` says of a stream of the page with this token."""
    now, buffer, spec = trio.current_time(), stream.buffer, stream.spec
    return StreamInfo(
        id=stream.id,
        callback=spec.callback,
        key=spec.key,
        page=page[:8],
        state=stream.state,
        age=now - stream.started,
        updates=buffer.sent_updates,
        buffered=buffer.updates,
        waiting=None if stream.waiting_since is None else now - stream.waiting_since,
        user=spec.user,
        source=stream.source,
    )
