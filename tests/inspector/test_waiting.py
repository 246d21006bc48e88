"""Where the app's code waits, as the inspector says it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import trio
from trio.testing import wait_all_tasks_blocked

from flash.inspector.waiting import line_of


async def sleep_in_app() -> None:
    await trio.sleep_forever()


def test_code_that_has_not_begun_or_is_over_waits_where_it_stands_or_nowhere() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    generator = numbers()
    next(generator)
    line = numbers.__code__.co_firstlineno + 1
    assert line_of(generator) == f"test_waiting.py:{line} {numbers.__qualname__}"
    assert list(generator) == []
    assert line_of(generator) is None
    assert line_of(None) is None


async def test_the_line_of_a_task_is_the_innermost_of_the_apps_code() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_in_app)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        line = sleep_in_app.__code__.co_firstlineno + 1
        assert line_of(task.coro) == f"test_waiting.py:{line} sleep_in_app"
        nursery.cancel_scope.cancel()


async def test_the_line_of_an_async_generator_is_in_what_it_awaits() -> None:
    async def updates() -> AsyncIterator[int]:
        await sleep_in_app()
        yield 1

    generator = updates()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(generator.__anext__)
        await wait_all_tasks_blocked()
        assert (line_of(generator) or "").endswith(" sleep_in_app")
        nursery.cancel_scope.cancel()


async def test_a_task_that_runs_no_code_of_the_app_has_no_line() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert line_of(task.coro) is None
        nursery.cancel_scope.cancel()
