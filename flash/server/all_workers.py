"""Collects streams, health and metrics of all workers, and ends streams on all; each worker can speak for all.

    a request, or app.all_streams() ── AllWorkers ── this process
                                            └─────── peers.ask_all ── AllWorkers of every other worker

Where one process serves the app, it answers alone. A worker without answer is named in the result and the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import trio
from quart import Quart
from quart_trio.wrappers import TrioResponse as Response

from ..asgi.refusals import add_route
from ..channels import Channels
from ..sse import HEADERS
from ..streams.limits import StreamInfo
from .current_run import APPS
from .metrics import Metrics, join
from .revoking import Selection

if TYPE_CHECKING:
    # Loaded where there are several workers.
    from ..workers.directory import Directory
    from ..workers.frames import App
    from ..workers.peer_port import PeerReceiver
    from ..workers.peers import Answer, Peers

_log = logging.getLogger("flash.workers")

NO_ANSWER = "no answer"
"""The status of a worker that does not answer."""


class AppOfWorkers(Protocol):
    """An app that several processes may serve."""

    @property
    def asgi_server(self) -> Any:
        """The QuartTrio that has the app's routes, and maybe those of other apps."""
        ...

    @property
    def channels(self) -> Channels: ...
    @property
    def all_workers(self) -> AllWorkers: ...


def join_workers(
    server: Any,
    directory: Directory,
    socket_path: str | None,
    arrivals: PeerReceiver | None = None,
    answering: App | None = None,
) -> Peers:
    """Make this process one of several that serve the apps of a server.

    Args:
        server: the QuartTrio whose apps are served here, from when the `Peers` run.
        directory: says which worker holds a browser.
        socket_path: of the unix socket on which this worker serves the others of its machine; None if it has none.
        arrivals: the connections of other machines; None if there are none.
        answering: the ASGI app that answers requests here; None for the server itself.
    """
    from ..workers.peers import HAVE_COME, Peers

    apps: list[AppOfWorkers] = server.extensions[APPS]
    answers: dict[str, Answer] = {
        HAVE_COME: lambda pages: [each.channels.has_gone(page) for page in json.loads(pages) for each in apps]
    }
    for each in apps:
        answers |= each.all_workers.answers()
    peers = Peers(answering or server, directory, socket_path, answers, arrivals)
    for each in apps:
        each.all_workers.peers = peers
        each.all_workers.directory = directory
        each.channels.holding = peers.holdings
        each.channels.revoked.tell = each.all_workers.tell_revoked
    return peers


def leave_workers(server: Any) -> None:
    """Undo what `join_workers` has done to the apps of a server."""
    apps: list[AppOfWorkers] = server.extensions[APPS]
    for each in apps:
        each.all_workers.peers = each.all_workers.directory = each.channels.holding = None


class AllWorkers:
    """What is known of an app that one or several processes serve.

    Attributes:
        peers: the workers; None where there is one process.
        directory: says which of them holds a browser.
        snapshot: says what this process runs, for the inspector; None without one.
    """

    def __init__(
        self, channels: Channels, streams: Callable[[], list[StreamInfo]], nursery: Callable[[], object]
    ) -> None:
        """
        Args:
            channels: those of this process.
            streams: lists its streams.
            nursery: returns the nursery for channels; raises AttributeError before the app's ASGI lifespan begins.
        """
        self.peers: Peers | None = None
        self.directory: Directory | None = None
        self.snapshot: Callable[[], dict[str, Any]] | None = None
        self._channels = channels
        self._streams = streams
        self._nursery = nursery
        self._metrics: Metrics | None = None
        self._prefix = ""

    def register(self, server: Quart, prefix: str, metrics: Metrics | None) -> None:
        """Add the routes for health and metrics to `server` under `prefix`, which ends in a slash."""
        self._metrics = metrics
        self._prefix = f"{prefix}_flash/"
        views = {"health": self._answer_health}
        if metrics is not None:
            views["metrics"] = self._answer_metrics
        for name, view in views.items():
            add_route(server, f"{self._prefix}{name}", "GET", view)

    def answers(self) -> dict[str, Answer]:
        """What answers the questions of other workers. A question is asked of one app of several on a server."""
        return {
            f"{self._prefix}streams": lambda _: [asdict(info) for info in self._streams()],
            f"{self._prefix}revocable": lambda _: [asdict(info) for info in self._channels.revocable()],
            f"{self._prefix}revoke": self._revoke,
            f"{self._prefix}revoked": lambda about: self._channels.revoked.remember(*json.loads(about)),
            f"{self._prefix}health": lambda _: self._health(),
            f"{self._prefix}inspect": lambda _: None if self.snapshot is None else self.snapshot(),
            f"{self._prefix}metrics": lambda _: "" if self._metrics is None else self._metrics.expose().decode(),
        }

    async def streams(self) -> list[StreamInfo]:
        """Every stream of every worker, oldest first."""
        if self.peers is None:
            return self._streams()
        return sorted(await self._ask_for_streams("streams"), key=lambda info: -info.age)

    async def snapshots(self) -> Mapping[str, dict[str, Any] | None]:
        """What each worker runs, by its name; None for one that does not answer."""
        assert self.snapshot is not None
        if self.peers is None:
            return {"This process": self.snapshot()}
        answers = await self.peers.ask_all(f"{self._prefix}inspect")
        return {f"Worker {name}": answer for name, answer in answers.items()}

    async def revocable(self) -> list[StreamInfo]:
        """`Channels.revocable` of every worker."""
        return self._channels.revocable() if self.peers is None else await self._ask_for_streams("revocable")

    async def revoke(self, selection: Selection, why: str) -> int:
        """`Channels.revoke` on every worker. Not cancelled, and over within moments: see `peers.ANSWER_TIMEOUT`.

        It may be called by a stream that it ends.
        """
        if self.peers is None:
            return self._channels.revoke(selection.fits, why)
        ended = 0
        with trio.CancelScope(shield=True):
            for part in selection.parts():
                answers = await self.peers.ask_all(f"{self._prefix}revoke", part.encode(why))
                ended += sum(filter(None, answers.values()))
                for name in [name for name, answer in answers.items() if answer is None]:
                    _log.error("Worker %s was to end streams, and does not answer: those that it has may go on.", name)
        return ended

    def tell_revoked(self, page: str, streams: Sequence[str]) -> None:
        """Tell the other workers of a page that is away, and of its streams that were revoked."""
        if self.peers is not None:
            self.peers.tell_others(f"{self._prefix}revoked", json.dumps([page, streams]))

    def _revoke(self, question: str) -> int:
        selection, why = Selection.decode(question)
        return self._channels.revoke(selection.fits, why)

    async def _ask_for_streams(self, question: str) -> list[StreamInfo]:
        assert self.peers is not None
        answers = await self.peers.ask_all(f"{self._prefix}{question}")
        return [StreamInfo(**info) for answer in answers.values() for info in answer or ()]

    def _health(self) -> dict[str, Any]:
        """The health of this process."""
        status = "stopping" if self._channels.closing else "ok"
        try:
            self._nursery()
        except AttributeError:
            # The ASGI server has not begun the app's lifespan.
            status = "not started"
        health = {"status": status, "pages": len(self._channels), "streams": self._channels.load.streams}
        directory = None if self.directory is None else self.directory.status
        return health if directory is None else health | {"directory": directory}

    async def _answer_health(self) -> Response:
        """For load balancers: 200 while a worker of this machine accepts pages; 503 if all stop, or run no streams."""
        health = self._health()
        if self.peers is not None and self.directory is not None:
            answers = await self.peers.ask_all(f"{self._prefix}health")
            health = join_health(answers, self.directory.name, health["status"])
        code = 200 if health["status"] == "ok" else 503
        return Response(json.dumps(health), status=code, content_type="application/json", headers=HEADERS)

    async def _answer_metrics(self) -> Response:
        """The metrics of each worker, with its name as a label where there are several."""
        assert self._metrics is not None
        exposed = self._metrics.expose()
        if self.peers is not None:
            exposed = join(await self.peers.ask_all(f"{self._prefix}metrics"))
        return Response(exposed, content_type=self._metrics.content_type, headers=HEADERS)


def join_health(answers: Mapping[str, dict[str, Any] | None], name: str, status: str) -> dict[str, Any]:
    """What the workers' healths come to. The status is that of this machine.

    Args:
        answers: of each worker, by its name; None if it gave none.
        name: of this worker, which says which machine it is on: see `Directory.name`.
        status: of this worker, for the case that none of its machine is well.
    """
    known = [answer for answer in answers.values() if answer is not None]
    machine = name.rpartition("/")[0]
    here = [answer for other, answer in answers.items() if answer and other.rpartition("/")[0] == machine]
    return {
        "status": "ok" if any(answer["status"] == "ok" for answer in here) else status,
        "pages": sum(answer["pages"] for answer in known),
        "streams": sum(answer["streams"] for answer in known),
        "workers": {name: answer or {"status": NO_ANSWER} for name, answer in answers.items()},
    }
