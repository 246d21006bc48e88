"""Generators for a generator to iterate over, which hold something of Trio's open around their `yield`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable

import trio

Inner = Callable[[], AsyncGenerator[int, None]]


async def in_nursery() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_scope() -> AsyncGenerator[int, None]:
    with trio.move_on_after(1_000):
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_both() -> AsyncGenerator[int, None]:
    async for number in in_nursery():
        with trio.CancelScope():
            yield number


@contextlib.asynccontextmanager
async def connection() -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


async def in_context_manager() -> AsyncGenerator[int, None]:
    async with connection():
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_exit_stack() -> AsyncGenerator[int, None]:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(trio.open_nursery())
        stack.enter_context(trio.CancelScope())
        while True:
            yield 1
            await trio.sleep(0.1)


async def slow_to_close() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            while True:
                yield 1
                await trio.sleep(0.1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)


HOLDING = [
    in_nursery,
    in_scope,
    in_both,
    in_context_manager,
    in_exit_stack,
    slow_to_close,
]
