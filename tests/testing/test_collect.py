"""`flash.testing.collect`: the updates of a stream without a page, in virtual time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import trio

import flash.testing.trio
from flash import (
    ALL,
    Input,
    Output,
    Patch,
    State,
    Watched,
    callback,
    cleanup,
    ctx,
    event_callback,
    every,
    feed,
    no_update,
    on_asyncio,
    set_props,
    stream_props,
)
from flash.testing import collect

Updates = AsyncGenerator[Any, None]


@event_callback(Input("start", "n_clicks"))
async def clock(n_clicks: int) -> Updates:
    async for number in every(0.5):
        yield stream_props("progress", {"children": f"tick {number}"})


def test_updates_come_in_the_order_yielded_up_to_the_time_given() -> None:
    assert collect(clock, 1, seconds=2.2) == [{"progress": {"children": f"tick {n}"}} for n in range(5)]


def test_what_is_due_at_exactly_that_time_is_included() -> None:
    assert len(collect(clock, 1, seconds=2)) == 5
    assert len(collect(clock, 1, seconds=0)) == 1


@pytest.mark.parametrize("interval", [0.005, 0.1, 0.3, 0.7, 1.1])
def test_no_rounding_hides_the_last_tick(interval: float) -> None:
    @event_callback(Input("start", "n_clicks"))
    async def ticks(n_clicks: int) -> Updates:
        async for number in every(interval):
            yield stream_props("progress", {"children": number})

    assert len(collect(ticks, 1, seconds=11 * interval)) == 12


def test_an_hour_takes_no_time() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def slow(n_clicks: int) -> Updates:
        await trio.sleep(3_600)
        yield stream_props("progress", {"children": "done"})

    began = time.monotonic()
    assert collect(slow, 1, seconds=3_600) == [{"progress": {"children": "done"}}]
    assert time.monotonic() - began < 60


def test_ids_with_patterns_are_the_strings_of_dash_and_a_patch_is_as_it_was() -> None:
    patch = Patch()
    patch.append(1)

    @event_callback(Input("start", "n_clicks"))
    async def several(n_clicks: int) -> Updates:
        yield stream_props([({"type": "out", "index": 1}, {"children": 1}), ({"type": "out", "index": ALL}, {"a": 2})])
        yield stream_props([("a", {"x": 1, "y": no_update}), ("a", {"z": 2}), ("b", {"x": no_update})])
        yield stream_props("list", {"data": patch})

    first, second, third = collect(several, 1, seconds=1)
    assert first == {'{"index":1,"type":"out"}': {"children": 1}, '{"index":["ALL"],"type":"out"}': {"a": 2}}
    assert second == {"a": {"x": 1, "z": 2}}
    assert third["list"]["data"] is patch


def test_inputs_states_and_the_context_are_there() -> None:
    @event_callback(Input("start", "n_clicks"), State("name", "value"))
    async def greet(n_clicks: int, name: str) -> Updates:
        yield stream_props("out", {"children": [n_clicks, name, ctx.triggered_id, ctx.states["name.value"]]})
        set_props("out", {"title": "set"})

    assert collect(greet, 2, "Ada", seconds=0) == [
        {"out": {"children": [2, "Ada", "start", "Ada"]}},
        {"out": {"title": "set"}},
    ]


def test_a_callback_may_take_its_values_by_name() -> None:
    @event_callback(inputs={"clicks": Input("start", "n_clicks")}, state={"name": State("name", "value")})
    async def greet(clicks: int, name: str) -> Updates:
        yield stream_props("out", {"children": f"{name} {clicks}"})

    assert collect(greet, clicks=1, name="Ada", seconds=0) == [{"out": {"children": "Ada 1"}}]


def test_a_watched_input_has_the_value_that_is_given() -> None:
    @event_callback(Input("start", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def drive(n_clicks: int, speed: Watched[int | None]) -> Updates:
        yield stream_props("out", {"children": speed.value})

    assert collect(drive, 1, speed=3, seconds=0) == [{"out": {"children": 3}}]
    assert collect(drive, 1, seconds=0) == [{"out": {"children": None}}]


def test_values_for_outputs_are_updates_of_them() -> None:
    @callback(Output("a", "children"), Output("b", "value"), Input("start", "n_clicks"))
    async def both(n_clicks: int) -> Updates:
        yield n_clicks, "x"
        yield no_update, "y"

    @callback(Output("a", "children"), Input("start", "n_clicks"))
    async def one(n_clicks: int) -> Updates:
        yield n_clicks

    assert collect(both, 1, seconds=0) == [{"a": {"children": 1}, "b": {"value": "x"}}, {"b": {"value": "y"}}]
    assert collect(one, 1, seconds=0) == [{"a": {"children": 1}}]


def test_a_plain_generator_keeps_its_thread_and_the_clock_stands_still_while_it_works() -> None:
    @event_callback(Input("start", "n_clicks"))
    def rows(n_clicks: int) -> Generator[Any, None, None]:
        connection = sqlite3.connect(":memory:")
        try:
            for number in every(0.1):
                time.sleep(0.02)
                yield stream_props("out", {"children": connection.execute("select ?", (number,)).fetchone()[0]})
        finally:
            connection.close()

    assert collect(rows, 1, seconds=0.5) == [{"out": {"children": n}} for n in range(6)]


def test_the_clock_stands_still_while_a_thread_or_asyncio_works() -> None:
    @on_asyncio
    async def ask() -> int:
        import asyncio

        await asyncio.sleep(0.05)
        return 7

    @event_callback(Input("start", "n_clicks"), timeout=1)
    async def works(n_clicks: int) -> Updates:
        with trio.fail_after(0.01):
            await trio.to_thread.run_sync(time.sleep, 0.05)
            answer = await ask()
        yield stream_props("out", {"children": [answer, trio.current_time()]})

    # Both took longer than the deadline, in real time, and none on the clock.
    assert collect(works, 1, seconds=5) == [{"out": {"children": [7, 0.0]}}]


def test_a_stream_follows_feeds() -> None:
    @feed
    async def prices(symbol: str) -> AsyncGenerator[str, None]:
        async for number in every(1):
            yield f"{symbol} {number}"

    @event_callback(Input("start", "n_clicks"))
    async def ticker(n_clicks: int) -> Updates:
        async with prices("KELP") as ticks:
            async for tick in ticks:
                yield stream_props("price", {"children": tick})

    assert collect(ticker, 1, seconds=2) == [{"price": {"children": f"KELP {n}"}} for n in range(3)]


def test_a_failure_names_the_callback_and_the_line() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def fails(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": 1})
        raise ValueError("no such thing")

    with pytest.raises(
        AssertionError, match=r"fails' failed at .*test_collect\.py:\d+ .*ValueError\('no such thing'\)"
    ) as e:
        collect(fails, 1, seconds=1)
    assert isinstance(e.value.__cause__, ValueError)


def test_a_clean_up_that_does_not_end_is_named() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def stuck(n_clicks: int) -> Updates:
        try:
            yield stream_props("out", {"children": 1})
            await trio.sleep(10)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1_000)

    with pytest.raises(
        AssertionError, match=r"stuck' still runs 30 s after it was ended: it waits at .*test_collect\.py"
    ):
        collect(stuck, 1, seconds=1)


def test_clean_up_has_its_time() -> None:
    done: list[float] = []

    @event_callback(Input("start", "n_clicks"))
    async def saves(n_clicks: int) -> Updates:
        try:
            async for number in every(1):
                yield stream_props("out", {"children": number})
        finally:
            with cleanup():
                await trio.sleep(3)
                done.append(trio.current_time())

    assert len(collect(saves, 1, seconds=1)) == 2
    assert done == [4.0]


def test_an_input_that_is_watched_is_given_as_a_keyword() -> None:
    @event_callback(Input("start", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def race(n_clicks: int, speed: Watched[int]) -> Updates:
        yield stream_props("progress", {"children": speed.value})
        await speed.changed()
        yield stream_props("progress", {"children": speed.value})

    assert collect(race, 1, speed=Watched(3), seconds=1) == [{"progress": {"children": 3}}]


def test_what_is_no_event_callback_is_refused() -> None:
    with pytest.raises(TypeError, match="is no event callback"):
        collect(lambda: None, seconds=1)


async def test_the_async_form_needs_a_mock_clock() -> None:
    with pytest.raises(TypeError, match="needs a test on a virtual clock"):
        await flash.testing.trio.collect(clock, 1, seconds=1)


async def test_the_async_form_works_on_a_mock_clock(mock_clock: object) -> None:
    assert len(await flash.testing.trio.collect(clock, 1, seconds=2)) == 5
