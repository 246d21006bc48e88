"""Shared streams without HTTP or Dash: pages whose streams follow sources, and what such a page shows."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import trio
import trio.testing
from dash import ALL, Patch, html

from flash.channels import Channels
from flash.props import Update, encode_shared, encoder, stream_props, update_encoder
from flash.shared.failures import failure_of_stream
from flash.shared.options import FeedOptions
from flash.shared.page_state import PageState
from flash.shared.source import Source
from flash.shared.source_spec import SourceSpec
from flash.shared.sources import Sources, join, rejoin
from flash.shared.stream_follower import StreamFollower
from flash.streams.buffer import Bounds
from flash.streams.events import SharedUpdate
from flash.streams.limits import Limits, PageLimits
from flash.streams.stream import Stream
from tests.contract.pretend_page import CLEANUP_TIMEOUT, PretendPage, connect

Json = Any


class Told:
    """A generator that yields what it is told to, and counts its runs.

    Attributes:
        runs: how many have begun.
        open: how many have begun and not ended.
    """

    def __init__(self, clean_up: float = 0) -> None:
        self.runs = 0
        self.open = 0
        self.clean_up = clean_up
        self.send, self._orders = trio.open_memory_channel[Any](math.inf)

    async def __call__(self) -> AsyncGenerator[Any, None]:
        self.runs += 1
        self.open += 1
        assert self.open == 1, "two runs of one key"
        try:
            async for order in self._orders:
                if isinstance(order, BaseException):
                    raise order
                if order == "end":
                    return
                yield order
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.clean_up)
            self.open -= 1

    def tell(self, *orders: Any) -> None:
        for order in orders:
            self.send.send_nowait(order)

    async def say(self, *orders: Any) -> None:
        """Tell it, and let every task run until all are blocked."""
        self.tell(*orders)
        await trio.testing.wait_all_tasks_blocked()


@dataclass
class SharedCallback:
    """An event callback whose streams are shared.

    Attributes:
        generator: makes its generator.
        sources: of the app.
        linger: of the event callback.
        stops_all: it has `shared="browser"`.
        bound: bytes that the state may have.
        held: how many browsers are held by runs that linger.
        nones: how often its generator has yielded None.
        pages: those that have started a stream of it.
    """

    generator: Callable[[], AsyncGenerator[Any, None]]
    sources: Sources
    linger: float = 0
    stops_all: bool = False
    bound: int = 100_000
    held: int = 0
    nones: int = 0
    finishes: tuple[type[Exception], ...] = ()
    pages: list[PretendPage] = field(default_factory=list[PretendPage])

    def spec(self, key: str = "key", browser: str | None = None) -> SourceSpec:
        encode = encoder("test", None, encode_shared, SharedUpdate(b"", []))
        return SourceSpec(
            name=f"test({key!r})",
            generator=self.generator,
            is_plain=False,
            options=FeedOptions(linger=self.linger),
            memory=lambda: PageState("test", encode, self.bound, self._note_none),
            kind="shared stream",
            failure=failure_of_stream,
            finishes=self.finishes,
            keeps_end=True,
            browser=browser,
        )

    def start(
        self,
        page: PretendPage,
        key: str = "key",
        *,
        browser: str | None = None,
        starts_anew: bool = False,
        waits_for_room: bool = False,
        resumed: Source | None = None,
        key_of_stream: str = "key",
        **options: Any,
    ) -> Stream:
        """Start a stream of this event callback on a page."""

        def follow(follower: StreamFollower) -> Awaitable[Source | None]:
            source_key = (self.generator, key)
            if resumed is not None:
                return rejoin(source_key, follower, resumed)
            more = {"starts_anew": starts_anew, "waits_for_room": waits_for_room}
            return join(self.spec(key, browser), source_key, follower, self.sources, **more)

        follower = StreamFollower(
            follow,
            self._hold,
            partial(self._stop_others, page, (self.generator, key)) if self.stops_all else None,
        )
        options.setdefault("resets", b"")
        options.setdefault("off", b"")
        encode = update_encoder("test")
        stream = page.start(
            follower.follow,
            key_of_stream,
            encode=encode,
            source_key=(self.generator, key),
            finishes=self.finishes,
            **options,
        )
        follower.stream = stream
        self.pages.append(page)
        return stream

    def _hold(self) -> Callable[[], None]:
        self.held += 1

        def release() -> None:
            self.held -= 1

        return release

    def _stop_others(self, stopped: PretendPage, source_key: Hashable, condition: str, value: object) -> None:
        for page in self.pages:
            page.channels.stop_others(stopped.link.channel, source_key, condition, value)

    def _note_none(self) -> None:
        self.nones += 1


async def open_page(
    nursery: trio.Nursery, name: str = "page", *, updates: int = 1_000, size: int = 1_000_000, **limits: Any
) -> PretendPage:
    """A page on channels of its own."""
    limits.setdefault("reconnect_grace", 0)
    channels = Channels(Limits(Bounds(bytes=size, updates=updates), CLEANUP_TIMEOUT), PageLimits(**limits))
    return PretendPage(channels, await connect(channels, nursery, name, name))


def say(value: object) -> Update:
    """An update of one whole value."""
    return stream_props("out", {"children": value})


def said(page: PretendPage, stream: Stream) -> list[Any]:
    """What the page has seen of a stream that says values: "open", these, and the reason of its end."""
    log: list[Any] = []
    for entry in page.log(stream):
        log.append(entry if isinstance(entry, str) else entry[0] if isinstance(entry, tuple) else entry[1]["children"])
    return log


# What a page shows


def initial_layout() -> list[Json]:
    """The layout of a page on which nothing has happened."""
    return json.loads(
        json.dumps(
            [
                component("text", children="at first"),
                component("list", children=["at first"]),
                component("graph", figure={"data": [{"y": [0]}]}),
                component("grid", rowData=["at first"]),
                component({"type": "many", "n": 1}, children="at first", title=""),
                component({"type": "many", "n": 2}, children="at first", title=""),
                component("box", children=[component("inner", children=["at first"])]),
            ]
        )
    )


def component(component_id: Any, **props: Any) -> Json:
    return {"props": {"id": component_id, **props}}


@dataclass
class Shown:
    """What a page shows, which applies updates as Dash's renderer does."""

    layout: list[Json] = field(default_factory=initial_layout)

    def apply(self, pairs: Sequence[tuple[Any, dict[str, Any]]]) -> None:
        for component_id, props in pairs:
            for found in self._find(component_id, self.layout):
                for name, value in props.items():
                    self._set(found["props"], name, value)

    def _find(self, component_id: Any, within: Any) -> list[Json]:
        found: list[Json] = []
        for one in cast("list[Any]", within) if isinstance(within, list) else []:
            if isinstance(one, dict) and "props" in one:
                props: dict[str, Any] = cast("Any", one)["props"]
                if _matches(component_id, props.get("id")):
                    found.append(cast("Json", one))
                found += self._find(component_id, props.get("children"))
        return found

    def _set(self, props: dict[str, Any], name: str, value: Any) -> None:
        if name == "extendData":
            props["figure"]["data"][0]["y"] += value[0]["y"][0]
        elif name == "rowTransaction":
            props["rowData"] = props["rowData"] + value["add"]
        elif isinstance(value, dict) and "__dash_patch_update" in value:
            for operation in cast("list[Any]", value["operations"]):
                assert operation["operation"] == "Append"
                props[name] = props[name] + [operation["params"]["value"]]
        else:
            props[name] = json.loads(json.dumps(value))


def _matches(asked: Any, component_id: Any) -> bool:
    if isinstance(asked, str) or isinstance(component_id, str):
        return asked == component_id
    return asked.keys() == component_id.keys() and all(
        asked[name] in (["ALL"], value) for name, value in component_id.items()
    )


def append(value: object) -> Patch:
    patch = Patch()
    patch.append(value)
    return patch


def box(*inner: Any) -> list[Any]:
    return [html.Div(list(inner), id="inner")]


def a_kind_of_update(kind: str, number: int) -> Update:
    """An update of this kind; `number` tells it from others."""
    many: dict[str, Any] = {"type": "many", "n": 1 + number % 2}
    return {
        "whole": lambda: stream_props("text", {"children": number}),
        "list": lambda: stream_props("list", {"children": [number]}),
        "patch": lambda: stream_props("list", {"children": append(number)}),
        "figure": lambda: stream_props("graph", {"figure": {"data": [{"y": [number]}]}}),
        "extend": lambda: stream_props("graph", {"extendData": [{"y": [[number]]}, [0]]}),
        "rows": lambda: stream_props("grid", {"rowData": [number]}),
        "add row": lambda: stream_props("grid", {"rowTransaction": {"add": [number]}}),
        "one": lambda: stream_props(many, {"children": number}),
        "two props": lambda: stream_props(many, {"children": number, "title": str(number)}),
        "all": lambda: stream_props({"type": "many", "n": ALL}, {"children": number}),
        "box": lambda: stream_props("box", {"children": box(number)}),
        "in box": lambda: stream_props("inner", {"children": [number]}),
        "patch in box": lambda: stream_props("inner", {"children": append(number)}),
        "mixed": lambda: stream_props(
            [
                ("list", {"children": append(number)}),
                ("text", {"children": f"and {number}"}),
                ("graph", {"figure": {"data": [{"y": [number]}]}, "extendData": [{"y": [[number]]}, [0]]}),
            ]
        ),
    }[kind]()


KINDS = (
    "whole", "list", "patch", "figure", "extend", "rows", "add row", "one", "two props", "all", "box", "in box",
    "patch in box", "mixed",
)  # fmt: skip


async def pages_of(nursery: trio.Nursery, count: int) -> list[PretendPage]:
    """So many pages, each of a browser of its own."""
    return [await open_page(nursery, f"page {number}") for number in range(count)]
