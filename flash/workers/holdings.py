"""Keeps which browsers this worker holds, and claims them and gives them up in the directory.

    a request that needs a holder  ── claim ──┐                     ┌── Directory.claim
    one that another worker sends  ── take ───┼── Holdings: uses ───┤
    a channel                      ── enter ──┘                     └── Directory.give_up

A browser is held from the claim that the directory has answered with this worker until nothing of it is left here: no
request, websockets and links included, and no channel. Each of these is a *use* of the browser.

The directory and this table may disagree for the moments that a message takes. So while a browser is being claimed or
given up, whoever asks for it here waits until that is over. And a request that another worker sends for a browser that
is not held here is told so, whereupon the other one asks the directory again.

A browser can be *lost*, when the directory was away and another worker has come to hold it. What of it is here goes on
until it ends, but every new request goes to the holder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ..errors import RequestRefused
from ..user_code.containment import contain
from .directory import Directory, Holder, browser_key

_log = logging.getLogger("flash.workers")

KNOWN = 10_000
"""How many browsers of other workers are remembered with their holders, so that the directory need not be asked."""


class Holdings:
    """The browsers that one worker holds. They are named by their `browser_key`."""

    def __init__(self, directory: Directory, tell_of_page: Callable[[str], None] = lambda page: None) -> None:
        """
        Args:
            directory: says which worker holds a browser.
            tell_of_page: tells the other workers that a page has come to this one.
        """
        self._tell_of_page = tell_of_page
        self._directory = directory
        self._uses: dict[str, int] = {}
        self._lost: set[str] = set()
        self._here: Holder | None = None
        self._known: dict[str, Holder] = {}
        self._under_way: dict[str, trio.Event] = {}
        self._unused: set[str] = set()
        self._became_unused = trio.Event()

    def __len__(self) -> int:
        """The number of browsers that are held here."""
        return len(self._uses) - len(self._lost)

    def __contains__(self, browser: str) -> bool:
        """Whether a browser is held here."""
        return browser in self._uses and browser not in self._lost

    async def claim(self, browser: str) -> Holder | None:
        """The holder of a browser, which is this worker if nobody held it. If it is, the browser has one use more.

        Returns:
            None if nobody holds the browser and this worker may not.
        """
        while True:
            if browser in self:
                self._uses[browser] += 1
                return self._here
            if (known := self._known.get(browser)) is not None:
                return known
            if not await self._wait_for_directory(browser):
                break
        event = self._under_way[browser] = trio.Event()
        try:
            return await self._ask(browser)
        finally:
            del self._under_way[browser]
            event.set()

    async def _ask(self, browser: str) -> Holder | None:
        """Claim a browser in the directory, and keep the answer."""
        # Were the answer lost, nobody would give up what it grants.
        with trio.CancelScope(shield=True):
            holder = await self._directory.claim(browser)
            if holder is not None and holder.here:
                self._here = holder
                # Of one that was lost, there may be something left.
                self._lost.discard(browser)
                self._uses[browser] = self._uses.get(browser, 0) + 1
            elif holder is not None:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[browser] = holder
            return holder
        raise AssertionError("a shield catches nothing")

    def forget(self, browser: str) -> None:
        """Ask the directory for the holder of a browser next time: the one that was known does not hold it."""
        self._known.pop(browser, None)

    def note_gone(self, worker: Holder) -> None:
        """The machine of a worker says that it has no such worker any more."""
        self._directory.note_gone(worker)

    async def note_unreachable(self, worker: Holder) -> None:
        """The machine of a worker has refused a connection, or says nothing."""
        await self._directory.note_unreachable(worker)

    def lose(self, browser: str) -> None:
        """Hold a browser no longer, because the directory says that another worker does."""
        if browser in self._uses:
            self._lost.add(browser)

    async def take(self, browser: str) -> bool:
        """Whether this worker holds a browser, for a request that another one sends. If so, it has one use more."""
        while browser not in self:
            if not await self._wait_for_directory(browser):
                # Should the directory take this worker for the holder, it is wrong for good unless it is told.
                await self._tell_not_held(browser)
                return False
        self._uses[browser] += 1
        return True

    def enter(self, secret: str) -> None:
        """Add a use of the browser with this secret: a channel.

        Raises:
            RequestRefused: the browser is not held here.
        """
        browser = browser_key(secret)
        if browser not in self._uses:
            raise RequestRefused(
                503,
                "The request has reached a server process that does not hold this browser, because nothing in it says "
                "that it starts a stream. Load the page again.",
            )
        self._uses[browser] += 1

    def leave(self, secret: str) -> None:
        """Remove a use that `enter` has added."""
        self.release(browser_key(secret))

    def has_come(self, page: str) -> None:
        """The page with this token has its channel here: have the other workers end theirs."""
        self._tell_of_page(page)

    def release(self, browser: str) -> None:
        """Remove a use that `claim` or `take` has added. Without uses, the browser is given up soon."""
        self._uses[browser] -= 1
        if not self._uses[browser]:
            self._unused.add(browser)
            self._became_unused.set()

    async def give_up_unused(self) -> None:
        """Give up each browser that is not used any more, until cancelled."""
        while True:
            await self._became_unused.wait()
            self._became_unused = trio.Event()
            while self._unused:
                browser = self._unused.pop()
                if self._uses.get(browser) == 0:
                    await self._give_up(browser)

    async def _give_up(self, browser: str) -> None:
        del self._uses[browser]
        self._lost.discard(browser)
        await contain(_log, "A browser could not be given up.", lambda: self._tell_not_held(browser))

    async def _tell_not_held(self, browser: str) -> None:
        """Tell the directory that a browser is not held here. No claim that follows overtakes this."""
        event = self._under_way[browser] = trio.Event()
        try:
            await self._directory.give_up(browser)
        finally:
            del self._under_way[browser]
            event.set()

    async def _wait_for_directory(self, browser: str) -> bool:
        """Wait until what the directory is being told or asked about a browser is over; False if that is nothing."""
        event = self._under_way.get(browser)
        if event is None:
            return False
        await event.wait()
        return True
