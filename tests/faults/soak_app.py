"""The app of the soak, whose streams do what their plan says, and the ledger that they keep of it.

A plan is a dictionary, which a start sends as the State `plan.data`: `Load.plan` makes one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio
import trio.lowlevel

from flash import MATCH, EndReason, Flash, Input, State, StreamCancelled, Update, ctx, html, no_update, stream_props

GRACE = 1.0
"""Seconds for which the streams of a page go on without a connection."""

WORKER = "Worker"
"""The header that says which of several workers has answered, as the id of its process."""

KINDS = ("walk", "step", "limited", "rogue")
"""The names of the event callbacks."""


class Mishap(Exception):
    """What a stream raises that is to fail."""


class MishapExit(Mishap, SystemExit):
    """The same, as code that means to end the process."""


class MishapInterrupt(Mishap, KeyboardInterrupt):
    """The same, as code that pretends a Ctrl-C."""


MISHAPS = (Mishap, MishapExit, MishapInterrupt)


async def in_nursery(steps: int) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        for step in range(steps + 1):
            yield step


async def in_scope(steps: int) -> AsyncIterator[int]:
    with trio.CancelScope():
        async for step in in_nursery(steps):
            yield step


INNER = (in_nursery, in_scope)


async def misbehave(run: int) -> None:
    """One of the things that the code of a stream must not do, and that no other stream is to notice."""

    async def fail() -> None:
        raise MISHAPS[run % len(MISHAPS)](f"run {run}")

    parent = trio.lowlevel.current_task().parent_nursery
    assert parent is not None
    match run % 5:
        case 0:
            parent.start_soon(fail)
        case 1:
            parent.start_soon(trio.sleep_forever)
        case 2:
            parent.cancel_scope.cancel()
        case 3:
            (await trio.open_nursery().__aenter__()).start_soon(trio.sleep_forever)
        case _:
            trio.CancelScope().__enter__()


class Ledger:
    """What happened to each run, by its number. Written from the server's threads.

    Attributes:
        began: runs whose generator took its first step.
        unwound: runs whose `finally` ran; with how often.
        handled: runs whose `on_error` ran; with how often.
        returned: runs whose generator came to its end.
        reasons: how many `on_error`s were given each reason; `failed` for an exception of the generator's.
    """

    def __init__(self) -> None:
        self.began = Counter[int]()
        self.unwound = Counter[int]()
        self.handled = Counter[int]()
        self.returned = Counter[int]()
        self.reasons = Counter[str]()
        self._lock = threading.Lock()

    def note(self, page_of_ledger: Counter[int], run: int) -> None:
        with self._lock:
            page_of_ledger[run] += 1

    def handle(self, error: BaseException) -> Update:
        """What every `on_error` does."""
        run = ctx.states["plan.data"]["run"]
        with self._lock:
            self.handled[run] += 1
            if isinstance(error, StreamCancelled):
                self.reasons[str(error.reason)] += 1
            elif isinstance(error, Mishap):
                self.reasons[str(EndReason.FAILED)] += 1
            else:
                self.reasons[repr(error)] += 1
        return stream_props("out", {"children": "last words"})

    def violations(self, ended: Counter[str], lines: Counter[str]) -> list[str]:
        """What the ledger has against the server, which says that so many streams ended for each reason."""
        with self._lock:
            runs = set(self.began) | set(self.handled)
            completed = [run for run in self.returned if not self.handled[run]]
            found = [
                *_unlike("began", self.began, dict.fromkeys(self.began, 1)),
                *_unlike("ran its `finally`", self.unwound, self.began),
                *_unlike("ran its on_error", self.handled, dict.fromkeys(self.handled, 1)),
                *[
                    f"run {run} has neither completed nor run its on_error"
                    for run in runs - {*completed, *self.handled}
                ],
                *_unlike("was logged", lines, ended),
                *_unlike("was handled", Counter(self.reasons) + Counter(completed=len(completed)), ended),
            ]
        if len(runs) != ended.total():
            found.append(f"{len(runs)} streams began or were handled, and {ended.total()} ended")
        return found


def _unlike(what: str, found: Any, expected: Any) -> Iterator[str]:
    for key in sorted(set(found) | set(expected)):
        if found.get(key, 0) != expected.get(key, 0):
            yield f"{key} {what} {found.get(key, 0)} times, and not {expected.get(key, 0)}"


def make_app(ledger: Ledger) -> Flash:
    """An app whose streams do what their plan says; see `Visitor.plan`."""
    app = Flash(
        "soak",
        reconnect_grace=GRACE,
        ping_interval=1,
        stall_timeout=60,
        cleanup_timeout=20,
        stream_buffer_updates=20,
        window=20_000,
        metrics=True,
    )
    app.layout = html.Div(id="out")

    def update(plan: dict[str, Any], step: int) -> Update:
        return stream_props("out", {"children": [plan["run"], step], "title": "x" * plan["size"]})

    def act_out(plan: dict[str, Any]) -> None:
        if plan["then"] == "raise":
            raise Mishap(f"run {plan['run']}")
        ledger.note(ledger.returned, plan["run"])

    async def handle(error: BaseException) -> Update:
        await trio.lowlevel.checkpoint()
        return ledger.handle(error)

    resets = [("out", {"children": "reset"})]

    @app.event_callback(
        Input({"type": "walk", "index": MATCH}, "n_clicks"),
        State("plan", "data"),
        cancel=[Input({"type": "stop", "index": MATCH}, "n_clicks")],
        on_error=handle,
        reset_props=resets,
    )
    async def walk(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for step in range(plan["steps"]):
                yield update(plan, step)
                await trio.sleep(plan["pause"])
            if plan["then"] == "wait":
                await trio.sleep_forever()
            act_out(plan)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.001)
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("step", "n_clicks"),
        State("plan", "data"),
        cancel=[Input("stop", "n_clicks")],
        on_error=ledger.handle,
        reset_props=resets,
    )
    def step(n_clicks: int, plan: dict[str, Any]) -> Iterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for number in range(plan["steps"]):
                yield update(plan, number)
                time.sleep(plan["pause"])
            while plan["then"] == "wait":
                yield stream_props("out", {"hidden": no_update})
                time.sleep(0.1)
            act_out(plan)
        finally:
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("limited", "n_clicks"), State("plan", "data"), timeout=0.2, on_error=ledger.handle, reset_props=resets
    )
    async def limited(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for number in range(plan["steps"]):
                yield update(plan, number)
            await trio.sleep_forever()
        finally:
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("rogue", "n_clicks"),
        State("plan", "data"),
        cancel=[Input("stop", "n_clicks")],
        on_error=handle,
        reset_props=resets,
    )
    async def rogue(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            await misbehave(plan["run"])
            # It has one step more than are taken of it, and is left open.
            async for step in INNER[plan["run"] % len(INNER)](plan["steps"]):
                if step == plan["steps"]:
                    break
                yield update(plan, step)
            if plan["then"] == "wait":
                await trio.sleep_forever()
            if plan["then"] == "raise":
                raise MISHAPS[plan["run"] % len(MISHAPS)](f"run {plan['run']}")
            ledger.note(ledger.returned, plan["run"])
        finally:
            ledger.note(ledger.unwound, plan["run"])

    return app
