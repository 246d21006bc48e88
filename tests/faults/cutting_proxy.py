"""A TCP proxy that does to connections what networks do to them.

    with cutting_proxy(port) as proxy:
        page.goto(proxy.url)
        proxy.withhold()       # what the server sends from now on is taken from it, and kept back
        proxy.cut()            # and lost with the connections
        proxy.freeze("events") # those with such a request stay, and nothing passes any more: half open
        proxy.refuse()         # new ones are closed at once, until `accept`
        proxy.misbehave(seed)  # all of that at random, until `behave`

It runs in a thread of its own; its methods are called from the test's.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import trio

from tests.support.threads import running_in_thread

T = TypeVar("T")


class _Link:
    """One connection through the proxy."""

    def __init__(self, browser: trio.SocketStream, server: trio.SocketStream) -> None:
        self.browser = browser
        self.server = server
        self.scope = trio.CancelScope()
        self.request = ""
        self.frozen = False
        self.withheld = False

    def cut(self) -> None:
        """Let go of both ends with a RST."""
        for end in (self.browser, self.server):
            if end.socket.fileno() >= 0:
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.scope.cancel()


class CuttingProxy:
    """The proxy; see the module.

    Attributes:
        url: where it is.
        done: how often it did what to a connection.
    """

    def __init__(self, target: int, host: str) -> None:
        self.url = ""
        self.done = Counter[str]()
        self._host, self._target = host, target
        self._links: set[_Link] = set()
        self._refusing = False
        self._choice: random.Random | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    def cut(self) -> int:
        """Cut every connection that there is; says how many there were."""

        def cut() -> int:
            links = list(self._links)
            for link in links:
                link.cut()
            return len(links)

        return self._call(cut)

    def freeze(self, word: str = "") -> int:
        """Let nothing pass any more, in either direction, and leave the connections open: half open.

        It is done to those whose last request has `word` in its first line; says how many there were.
        """

        def freeze() -> int:
            links = [link for link in self._links if word in link.request]
            for link in links:
                link.frozen = True
            return len(links)

        return self._call(freeze)

    def withhold(self) -> None:
        """Take what the server sends on the connections that there are, and do not pass it on."""
        self._call(lambda: [setattr(link, "withheld", True) for link in self._links])

    def refuse(self) -> None:
        """Close new connections at once."""
        self._call(lambda: setattr(self, "_refusing", True))

    def accept(self) -> None:
        """Take new connections again."""
        self._call(lambda: setattr(self, "_refusing", False))

    def misbehave(self, seed: int) -> None:
        """From now on, and for the connections that there are too, do at random what networks do."""
        self._call(lambda: setattr(self, "_choice", random.Random(seed)))

    def behave(self) -> None:
        """Pass everything on again."""
        self._call(lambda: setattr(self, "_choice", None))

    def count(self) -> int:
        """How many connections there are."""
        return self._call(lambda: len(self._links))

    def stop(self) -> None:
        self._call(self._scope.cancel)

    async def run(self, ready: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        (listener,) = await trio.open_tcp_listeners(0, host=self._host)
        self.url = f"http://{self._host}:{listener.socket.getsockname()[1]}"
        ready.set()
        with self._scope:
            await trio.serve_listeners(self._link, [listener])

    def _call(self, function: Callable[[], T]) -> T:
        return trio.from_thread.run_sync(function, trio_token=self._token)

    async def _link(self, browser: trio.SocketStream) -> None:
        async with browser:
            if self._refusing:
                return
            async with await trio.open_tcp_stream(self._host, self._target) as server:
                link = _Link(browser, server)
                self._links.add(link)
                try:
                    with link.scope:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._pass_on, link, browser, server)
                            nursery.start_soon(self._pass_on, link, server, browser)
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                finally:
                    self._links.discard(link)

    async def _pass_on(self, link: _Link, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        while data := await source.receive_some(16_384):
            if source is link.browser:
                link.request = data.partition(b"\r\n")[0].decode(errors="replace")
            if link.frozen:
                await trio.sleep_forever()
            if link.withheld and source is link.server:
                continue
            fate = "pass" if self._choice is None else self._fate(self._choice)
            if fate != "pass":
                self.done[fate] += 1
            if fate == "delay":
                assert self._choice is not None
                await trio.sleep(self._choice.uniform(0.05, 0.5))
            elif fate == "truncate":
                assert self._choice is not None
                await sink.send_all(data[: self._choice.randrange(len(data))])
                link.cut()
            elif fate == "cut":
                link.cut()
            elif fate == "close":
                link.scope.cancel()
            elif fate == "half-close":
                # Nothing more goes this way; the other one is left open.
                await sink.send_eof()
                await trio.sleep_forever()
            elif fate == "freeze":
                link.frozen = True
                await trio.sleep_forever()
            await sink.send_all(data)
        if link.frozen:
            await trio.sleep_forever()
        await sink.send_eof()

    @staticmethod
    def _fate(choice: random.Random) -> str:
        """What happens to a piece of data, and the connection that it is on."""
        fates = {"pass": 1_000, "delay": 30, "truncate": 8, "cut": 6, "close": 4, "half-close": 4, "freeze": 0.5}
        return choice.choices(list(fates), list(fates.values()))[0]


@contextmanager
def cutting_proxy(target: int, host: str = "127.0.0.1") -> Generator[CuttingProxy]:
    """Run a proxy at the address `host`, to the port `target` there, while the block runs."""
    proxy = CuttingProxy(target, host)
    with running_in_thread("proxy", proxy.run, proxy.stop):
        yield proxy
