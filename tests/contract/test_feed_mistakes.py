"""Feeds that are declared or followed wrongly say so in one sentence."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

import flash
from flash import InvalidFeed, feed
from flash.shared.sources import Sources
from tests.contract.pretend_app import Line, feed_of
from tests.contract.pretend_page import on_mock_clock

clock = on_mock_clock


async def test_a_follower_that_is_used_wrongly_says_how_it_is_used(app: Sources, nursery: trio.Nursery) -> None:
    lines = feed_of(Line())
    with pytest.raises(InvalidFeed, match="outside of `async with`"):
        async for _ in lines():
            pass
    follower = lines()
    async with follower:
        pass
    with pytest.raises(InvalidFeed, match="outside of `async with`"):
        await anext(follower)
    with pytest.raises(InvalidFeed, match="call the feed once more"):
        async with follower:
            pass
    with pytest.raises(InvalidFeed, match="would block the event loop"), lines():
        pass
    with pytest.raises(InvalidFeed, match="outside of `with`"):
        for _ in lines():
            pass
    async with lines() as values:
        nursery.start_soon(values.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InvalidFeed, match="Two tasks"):
            await anext(values)
        nursery.cancel_scope.cancel()


def test_a_follower_in_a_thread_that_trio_does_not_know_says_so() -> None:
    with pytest.raises(InvalidFeed, match="a thread that Trio does not know"), numbers_feed()():
        pass


def numbers_feed() -> flash.Feed[[], int]:
    @feed
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1

    return numbers


@pytest.mark.parametrize("argument", [[1], {"a": 1}, (1, [2]), math.nan])
def test_arguments_that_cannot_be_a_key_are_refused_when_the_feed_is_called(argument: object) -> None:
    @feed
    async def prices(symbol: object) -> AsyncGenerator[object, None]:
        yield symbol

    with pytest.raises(InvalidFeed, match=r"prices\(.*cannot be compared"):
        prices(argument)
    with pytest.raises(TypeError, match="missing"):
        prices()  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"linger": -1}, "linger= of @feed is to be"),
        ({"buffer": 0}, "buffer= of @feed is to be"),
        ({"overflow": "drop"}, "overflow= of @feed is to be"),
        ({"keep": -1}, "keep= of @feed is to be"),
        ({"keep": 101}, "at most buffer="),
        ({"retry": 0}, "retry= of @feed is to be"),
        ({"retries": 0}, "retries= of @feed is to be"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidFeed, match=sentence):
        feed(**options)


def test_only_a_generator_function_can_be_a_feed() -> None:
    async def coroutine() -> None: ...

    wrong: Any = feed
    with pytest.raises(InvalidFeed, match="not a generator function"):
        wrong(coroutine)
    with pytest.raises(InvalidFeed, match=r"@feed\(linger=5\)"):
        wrong(5)
    with pytest.raises(InvalidFeed, match="a feed already"):
        wrong(numbers_feed())
