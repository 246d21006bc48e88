"""Joins a worker to the others: serves the requests that they send on, and answers their questions.

    another worker ── connection ── Peers ── the app: a request that was sent on
                                        └─── answers: a question, such as which streams there are

Another worker opens a connection for a request or a question, and keeps it for the next request if this one has come
whole: see `whole_requests`. If this worker holds the browser of a request, it says so, and runs its app with `receive`
and `send` of that connection. For the app that is a request like any other. A link that can be handed over is served
from then on as one that has come to this worker: see `handing_over`.

Whoever can connect speaks for every browser. On one machine the folder of the socket decides who can, see
`socket_directory`; workers of other machines have to have the secret, see `peer_port`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import trio

from ..user_code.containment import contain
from .directory import Directory, Holder
from .frames import HELD, NOT_HELD, OVER, SCOPE_TYPES, App, MalformedFrame, Message, Receive, Send, decode_scope
from .handing_over import ADOPTED, OFFER, adopt
from .holdings import Holdings
from .kept_connections import KeptConnections
from .leaving import Leaving
from .peer_connection import Dialer, PeerConnection, PeerGone, listen
from .peer_port import PeerReceiver
from .routing import browser_needed
from .sending_on import TO_APP, SendingOn
from .signatures import REFUSED, BadSignature
from .whole_requests import answer_whole

_log = logging.getLogger("flash.workers")

Answer = Callable[[str], object]
"""Takes what a question is about, or "", and answers with something that JSON can say."""

HAVE_COME = "have come"
"""The question that tells of pages, by their tokens, which have their channels in the worker that asks now."""

GATHER_INTERVAL = 0.05
"""Seconds for which pages that have come are gathered, so that they cost one question each worker, however many they
are."""

QUESTION, ANSWER = "flash.question", "flash.answer"

ANSWER_TIMEOUT = 2.0
"""Seconds in which another worker has to answer a question. One whose event loop is held up does not."""

HEADS = (*SCOPE_TYPES, QUESTION)
"""What another worker may begin with."""

HEAD_TIMEOUT = 10.0
"""Seconds in which another worker has to say why it has opened a connection, or has kept it. More than
`KEPT_TIMEOUT`."""


class Peers:
    """One worker among others, which share an app.

    Attributes:
        holdings: the browsers that this worker holds.
        asgi: what the worker is to serve in place of the app.
        leaving: whether this worker leaves; it takes no request from the others then that begins something.
        socket_path: of the unix socket on which it serves the others of its machine; None if there are no others.
        state: of the server's lifespan, of which every request has a copy; None if it has none, or has not begun.
        adopt: has the server of this worker serve a connection that another one hands over; None if it cannot.
    """

    adopt: Callable[[socket.socket, bytes], None] | None = None

    def __init__(
        self,
        app: App,
        directory: Directory,
        socket_path: str | None,
        answers: Mapping[str, Answer],
        arrivals: PeerReceiver | None = None,
    ) -> None:
        """
        Args:
            app: answers requests on this worker.
            directory: says which worker holds a browser.
            socket_path: of the unix socket on which this worker serves the others of its machine, or None.
            answers: for each question that a worker may be asked, what answers it; `HAVE_COME` tells rather than asks.
            arrivals: the connections of other machines; None if there are none.
        """
        self.holdings = Holdings(directory, self._tell_of_page)
        self._dialer = Dialer(socket_path, None if arrivals is None else arrivals.machine)
        self._kept = KeptConnections(self._dialer)
        self.leaving = Leaving()
        self._sending_on = SendingOn(self._keep_state(app), self.holdings, self._kept, self.leaving, self._start_soon)
        self.asgi: App = self._sending_on
        self._app = self.leaving.around(app, sent_on=True)
        self._directory = directory
        self.socket_path = socket_path
        self._answers = answers
        self._arrivals = arrivals
        self.state: dict[str, Any] | None = None
        self._nursery: trio.Nursery | None = None
        self._have_come: list[str] = []
        self._requests = 0
        self._idle = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the other workers, until cancelled. It has started when they can connect.

        Raises:
            OSError: the socket cannot be listened on.
        """
        listeners = [] if self.socket_path is None else [listen(self.socket_path)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.holdings.give_up_unused)
            nursery.start_soon(self._kept.close_unused)
            if listeners:
                await nursery.start(trio.serve_listeners, self._serve_here, listeners)
            if self._arrivals is not None:
                nursery.start_soon(self._serve_arrivals, self._arrivals, nursery)
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def stop(self, goes_on: Callable[[Holder], bool]) -> None:
        """Cut the links and websockets that are only sent on to workers that go on, because this worker stops."""
        self.adopt = None
        self._sending_on.stop(goes_on)

    async def finish(self) -> None:
        """Return when no request of another worker is being answered."""
        while self._requests:
            self._idle = trio.Event()
            await self._idle.wait()

    async def ask_all(self, question: str, about: str = "") -> dict[str, Any]:
        """Ask every worker a question, this one included.

        Args:
            question: one of those that were given as `answers`.
            about: what the question is about.

        Returns:
            For the name of each worker its answer; None if it gave none within `ANSWER_TIMEOUT`.
        """
        workers = await self._directory.workers()
        answers: dict[str, Any] = {worker.name: None for worker in workers}

        async def ask(worker: Holder) -> None:
            answers[worker.name] = await self._ask(worker, question, about)

        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(ask, worker)
        silent = [name for name, answer in answers.items() if answer is None]
        if silent:
            _log.warning("Of worker %s there is nothing to be known: it does not answer.", ", ".join(silent))
        return answers

    def tell_others(self, question: str, about: str) -> None:
        """Ask the other workers a question whose answers do not matter, without waiting for them."""
        self._start_soon(self._tell_others, question, about)

    def _tell_of_page(self, page: str) -> None:
        """Tell the other workers soon of a page that has come to this one."""
        self._have_come.append(page)
        if len(self._have_come) == 1:
            self._start_soon(self._tell_of_pages)

    async def _tell_of_pages(self) -> None:
        await trio.sleep(GATHER_INTERVAL)
        pages, self._have_come = self._have_come, []
        await self._tell_others(HAVE_COME, json.dumps(pages))

    async def _tell_others(self, question: str, about: str) -> None:
        workers = await self._directory.workers()
        async with trio.open_nursery() as nursery:
            for worker in workers:
                if not worker.here:
                    nursery.start_soon(self._ask, worker, question, about)

    async def _ask(self, worker: Holder, question: str, about: str = "") -> Any:
        if worker.here:
            return self._answers[question](about)
        with trio.move_on_after(ANSWER_TIMEOUT):
            try:
                async with await self._dialer.connect(worker.address, (ANSWER,)) as connection:
                    await connection.send({"type": QUESTION, "question": question, "about": about})
                    return json.loads((await connection.receive())["bytes"])
            except (OSError, PeerGone):
                # It has died, and its supervisor will notice.
                return None
            except MalformedFrame as error:
                _log.error("What worker %s at %s has answered was refused: %s", worker.name, worker.address, error)
                return None
        return None

    def _start_soon(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Start a task, unless this worker has stopped."""
        if self._nursery is not None:
            self._nursery.start_soon(function, *arguments)

    def _keep_state(self, app: App) -> App:
        """The app, which lets its server's lifespan state be seen: requests that are sent on get it, too."""

        async def keeping(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                self.state = scope.get("state")
            await app(scope, receive, send)

        return keeping

    async def _serve_here(self, stream: trio.SocketStream) -> None:
        """Serve a connection of another worker on this machine."""
        await self._serve(PeerConnection(stream, HEADS))

    async def _serve_arrivals(self, arrivals: PeerReceiver, nursery: trio.Nursery) -> None:
        """Serve the connections of other machines."""
        with contextlib.closing(arrivals), contextlib.suppress(trio.EndOfChannel):
            while True:
                nursery.start_soon(self._serve, await arrivals.receive(*HEADS))

    async def _serve(self, connection: PeerConnection) -> None:
        """Serve one connection of another worker. Its failure ends no other."""

        async def serve() -> None:
            async with connection:
                try:
                    while await self._serve_head(connection):
                        connection.expect(HEADS)
                except PeerGone:
                    pass
                except MalformedFrame as error:
                    _log.error("What another worker has sent was refused: %s", error)

        await contain(_log, "A connection of another worker failed.", serve)

    async def _serve_head(self, connection: PeerConnection) -> bool:
        """Read what another worker begins with, and do it. Returns whether it may begin with something else."""
        head: Message | None = None
        with trio.move_on_after(HEAD_TIMEOUT):
            try:
                head = await connection.receive()
            except BadSignature:
                with contextlib.suppress(PeerGone):
                    await connection.send({"type": REFUSED})
                raise
        if head is None:
            return False
        if head["type"] == QUESTION:
            await self._answer(connection, head)
            return False
        scope = decode_scope(head)
        body = scope.pop("body", None)
        return await self._serve_request(connection, scope, body)

    async def _answer(self, connection: PeerConnection, head: Message) -> None:
        answer = self._answers.get(cast("str", head.get("question")))
        if answer is None:
            raise MalformedFrame("It asks what no worker asks.")
        await connection.send({"type": ANSWER, "bytes": json.dumps(answer(str(head.get("about")))).encode()})

    async def _serve_request(self, connection: PeerConnection, scope: Message, body: bytes | None) -> bool:
        """Answer a request that another worker sends on, if its browser is held here.

        Args:
            connection: to that worker.
            scope: of the request.
            body: all of its body; None if that comes by messages of its own.

        Returns:
            Whether another request may follow on the connection.
        """
        browser = browser_needed(scope)
        is_offered = scope.pop(OFFER, False)
        if browser is None or self.leaving.refuses(scope) or not await self.holdings.take(browser):
            await connection.send({"type": NOT_HELD})
            return False
        self._requests += 1
        try:
            if is_offered and self.adopt is not None:
                await connection.send({"type": ADOPTED})
                await adopt(connection, self.adopt)
                return False
            # Each request has a copy of its server's state.
            if self.state is not None:
                scope["state"] = self.state.copy()
            if body is not None:
                await answer_whole(self._app, scope, body, connection, self._start_soon)
                return True
            await connection.send({"type": HELD})
            connection.expect(TO_APP)
            browser_end = _BrowserEnd(connection, scope["type"])
            await contain(
                _log,
                "A request that another worker has sent on failed.",
                lambda: self._app(scope, browser_end.receive, browser_end.send),
            )
            await browser_end.send({"type": OVER})
            return False
        finally:
            self.holdings.release(browser)
            self._requests -= 1
            if not self._requests:
                self._idle.set()


class _BrowserEnd:
    """The browser of a request that was sent on, as the app knows it: by `receive` and `send`."""

    def __init__(self, connection: PeerConnection, kind: str) -> None:
        """
        Args:
            connection: to the worker that the browser is connected to.
            kind: "http" or "websocket".
        """
        self._connection = connection
        self._kind = kind
        self._is_gone = False

    async def receive(self) -> Message:
        """The next message of the request. When it was the disconnect, there is none any more, as with a server."""
        if self._is_gone:
            await trio.sleep_forever()
        try:
            message = await self._connection.receive()
        except (PeerGone, MalformedFrame) as error:
            if isinstance(error, MalformedFrame):
                _log.error("A request that another worker sends on was given up: %s", error)
            message: Message = {"type": f"{self._kind}.disconnect"}
            if self._kind == "websocket":
                message["code"] = 1006
        self._is_gone = message["type"].endswith(".disconnect")
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response. When the browser has left it goes nowhere, as with a server."""
        try:
            await self._connection.send(message)
        except PeerGone:
            await trio.lowlevel.checkpoint()
