"""What an app says of the streams and feeds that run, and how its code ends streams: methods of `Flash`.

In a thread, such as that of a plain callback, they are carried out on the event loop while the thread waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import trio

from .. import _dash
from ..callbacks.components import CallbackComponent
from ..callbacks.request import StreamSettings
from ..channels import Channels
from ..event_callbacks import GLOBAL_EVENT_CALLBACKS, EventCallback, EventCallbacks
from ..shared.listing import FeedInfo, SharedStreamInfo
from ..shared.sources import Sources, feeds
from ..streams.limits import StreamInfo
from .all_workers import AllWorkers
from .revoking import Selection, check_call

T = TypeVar("T")


class RunningStreams(_dash.DashApp):
    """What runs of an app.

    Attributes:
        stream_settings: what its streams need of it, the channels among that.
        sources: of the feeds that the app follows.
        all_workers: speaks with all processes that serve it.
    """

    stream_settings: StreamSettings
    _event_callbacks: EventCallbacks
    sources: Sources
    all_workers: AllWorkers

    @property
    def channels(self) -> Channels:
        """The channels of the pages that this server process holds."""
        return self.stream_settings.channels

    def _declared(self) -> list[CallbackComponent]:
        """The hidden components of the app's event callbacks, those included that join the layout at set-up."""
        found = [each for each in _dash.extra_components(self) if isinstance(each, CallbackComponent)]
        return [*found, *self._event_callbacks.components(), *GLOBAL_EVENT_CALLBACKS.components()]

    def streams(self) -> list[StreamInfo]:
        """The streams that this server process holds, oldest first. For callbacks, plain ones included."""
        streams = self.channels.streams
        if len(self.channels) == 0:
            return []
        return streams() if trio.lowlevel.in_trio_run() else trio.from_thread.run_sync(streams)

    async def all_streams(self) -> list[StreamInfo]:
        """The streams of all processes that serve the app together, oldest first.

        A process that does not answer within moments is left out, and named in the log.
        """
        return await self.all_workers.streams()

    def end_streams(
        self,
        callback: EventCallback[..., Any] | str | None = None,
        page: str | None = None,
        user: str | None = None,
        where: Callable[[StreamInfo], object] | None = None,
        why: str = "",
    ) -> int:
        """End the streams that all given arguments fit, with the reason `revoked`.

        On the event loop it ends those of this process; in a thread, such as that of a plain callback or hook, those of
        all processes that serve the app. None fits every stream, but one argument at least has to say which are meant.

        Args:
            callback: an event callback, or its name.
            page: their page, as in `app.streams()`.
            user: whose they are: see `identify=`.
            where: a plain function of a `StreamInfo`, which returns whether the stream is to end. It is asked about
                starts that wait, too, with the state `waiting`: they will not open. If it raises, nothing is ended.
            why: goes into the log, and into the `StreamCancelled` that `on_error` gets.

        Returns:
            How many streams end now. It does not wait for their clean-up, and counts neither those that were ending
            already nor starts that wait.

        Raises:
            InvalidOption: an argument has a value that it cannot have, or none says which streams are meant.
        """
        check_call(callback, page, user, where, why)
        selection = Selection.check(self._declared(), callback, page, user)
        if trio.lowlevel.in_trio_run():
            if where is not None:
                selection = selection.narrowed(where, self.channels.revocable())
            return self.channels.revoke(selection.fits, why)
        workers = self.all_workers
        if workers.peers is None and len(self.channels) == 0:
            return 0
        if where is not None:
            # It is called in this thread: it may block.
            selection = selection.narrowed(where, trio.from_thread.run(workers.revocable))
        return trio.from_thread.run(workers.revoke, selection, why)

    async def end_all_streams(
        self,
        callback: EventCallback[..., Any] | str | None = None,
        page: str | None = None,
        user: str | None = None,
        where: Callable[[StreamInfo], object] | None = None,
        why: str = "",
    ) -> int:
        """`end_streams` in all processes that serve the app together, for async functions.

        A process that does not answer within moments is named in the log: its streams may go on.
        """
        check_call(callback, page, user, where, why)
        selection = Selection.check(self._declared(), callback, page, user)
        if where is not None:
            selection = selection.narrowed(where, await self.all_workers.revocable())
        return await self.all_workers.revoke(selection, why)

    def feeds(self) -> list[FeedInfo]:
        """The sources of feeds that this server process runs, of all its apps, oldest first."""
        return self._listed(feeds)

    def shared_streams(self) -> list[SharedStreamInfo]:
        """The runs of this app's event callbacks with `shared=` in this server process, oldest first."""
        return self._listed(self.sources.shared_stream_infos)

    def _listed(self, infos: Callable[[], list[T]]) -> list[T]:
        if not self.sources.is_served:
            return []
        return infos() if trio.lowlevel.in_trio_run() else trio.from_thread.run_sync(infos)
