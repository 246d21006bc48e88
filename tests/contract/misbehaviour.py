"""What the user's code may do wrong in a generator: scopes and nurseries that it misuses, and whatever it raises."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import trio

from tests.contract.inner_generators import connection


async def enters_a_nursery_by_hand() -> AsyncGenerator[int, None]:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    yield 1


async def enters_a_scope_by_hand() -> AsyncGenerator[int, None]:
    trio.CancelScope().__enter__()
    yield 1


async def leaves_an_exit_stack_open() -> AsyncGenerator[int, None]:
    stack = contextlib.AsyncExitStack()
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.enter_context(trio.CancelScope())
    await stack.enter_async_context(connection())
    nursery.start_soon(trio.sleep_forever)
    yield 1


async def leaves_the_wrong_scope_first() -> AsyncGenerator[int, None]:
    outer, inner = trio.CancelScope(), trio.CancelScope()
    outer.__enter__()
    inner.__enter__()
    yield 1
    outer.__exit__(None, None, None)


async def leaves_the_scope_of_its_stream() -> AsyncGenerator[int, None]:
    yield 1
    scope = trio.lowlevel.current_task()._cancel_status._scope  # pyright: ignore[reportPrivateUsage]
    scope.__exit__(None, None, None)
    await trio.sleep(0.1)


async def cancels_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.cancel_scope.cancel()
    yield 1


async def fails_in_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    async def fail() -> None:
        raise ValueError("not mine to have")

    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.start_soon(fail)
    yield 1
    await trio.sleep(0.1)


async def leaves_tasks_in_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.start_soon(trio.sleep_forever)
    nursery.start_soon(shielded)
    yield 1


CORRUPTING = [
    enters_a_nursery_by_hand,
    enters_a_scope_by_hand,
    leaves_an_exit_stack_open,
    leaves_the_wrong_scope_first,
    leaves_the_scope_of_its_stream,
    cancels_the_nursery_of_the_page,
    fails_in_the_nursery_of_the_page,
    leaves_tasks_in_the_nursery_of_the_page,
]


class Unspeakable(Exception):
    """An exception of which nothing can be told."""

    def __str__(self) -> str:
        raise SystemExit("__str__")

    def __repr__(self) -> str:
        raise KeyboardInterrupt("__repr__")

    @property
    def __cause__(self) -> BaseException | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise SystemExit("__cause__")


class Indivisible(BaseExceptionGroup[BaseException]):
    """A group that cannot be taken apart, as one whose subclass has arguments of its own may be."""

    def derive(self, excs: Any) -> Any:
        raise SystemExit("derive")


def misnoted() -> BaseException:
    error = RuntimeError("no running event loop")
    error.__notes__ = 5  # pyright: ignore[reportAttributeAccessIssue] - which a careless library may do
    return error


RAISED: list[Callable[[], BaseException]] = [
    lambda: ValueError("as usual"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    Unspeakable,
    lambda: trio.TrioInternalError("said the user"),
    lambda: BaseExceptionGroup("several", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()]),
    lambda: ExceptionGroup("several", [ValueError(), ExceptionGroup("more", [Unspeakable()])]),
    lambda: RuntimeError(Unspeakable()),
    misnoted,
    lambda: Indivisible("indivisible", [ValueError(), SystemExit(3)]),
]
RAISED_NAMES = [f"{type(make()).__name__} {number}" for number, make in enumerate(RAISED)]
