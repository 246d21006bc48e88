"""Steps a user's generator, async or plain, from the task of its stream.

Both kinds have the same interface: `anext(steps.iterator)` resumes the generator, `throw` raises something at the
`yield` where it stands, `close` unwinds it. The first two return what the generator yields next, and raise
StopAsyncIteration when it is over; `close` says whether the generator is over, or yielded again.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Generator
from types import AsyncGeneratorType
from typing import Any, Protocol, TypeVar, cast

import trio

from ..user_code.failures import without_exit
from .thread import StreamThread

_log = logging.getLogger("flash.streams")

_T = TypeVar("_T")

CLOSE_ATTEMPTS = 3
"""How often a generator that ignores GeneratorExit is closed again before it is given up."""


class Steps(Protocol):
    """A generator that can be driven from a Trio task.

    Attributes:
        generator: the generator itself.
        iterator: what `anext` resumes it by. A method here would be one call more, at each `yield`.
    """

    @property
    def generator(self) -> object: ...
    @property
    def iterator(self) -> AsyncIterator[object]: ...
    async def throw(self, error: BaseException) -> object: ...
    async def close(self) -> bool: ...


class AsyncSteps:
    """The steps of an async generator: they run in the task that drives it."""

    __slots__ = ("generator",)

    def __init__(self, generator: AsyncGeneratorType[object, None]) -> None:
        self.generator = generator

    @property
    def iterator(self) -> AsyncIterator[object]:
        return self.generator

    async def throw(self, error: BaseException) -> object:
        return await self.generator.athrow(error)

    async def close(self) -> bool:
        if self.generator.ag_frame is None:
            return True
        # Not aclose(): when that has failed once, Python takes the generator for closed and does nothing any more.
        try:
            await self.generator.athrow(GeneratorExit())
        except (GeneratorExit, StopAsyncIteration):
            return True
        except BaseExceptionGroup as group:
            # Out of a nursery around the `yield`.
            if (failure := without_exit(group)) is not None:
                raise failure from None
            return True
        return False


class ThreadSteps:
    """The steps of a plain generator: they run in the stream's thread, and cannot be cut once they run."""

    def __init__(self, generator: Generator[object, None, None], thread: StreamThread) -> None:
        self.generator = generator
        self._thread = thread

    @property
    def iterator(self) -> AsyncIterator[object]:
        return self

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        return await self._step(lambda: next(self.generator))

    async def throw(self, error: BaseException) -> object:
        if isinstance(error, trio.Cancelled):
            # A plain generator is cancelled by GeneratorExit.
            if await self.close():
                raise error
            return None
        return await self._step(lambda: self.generator.throw(error))

    async def close(self) -> bool:
        def run() -> bool:
            try:
                self.generator.throw(GeneratorExit())
            except (GeneratorExit, StopIteration):
                return True
            return False

        if inspect.getgeneratorstate(self.generator) in (inspect.GEN_CREATED, inspect.GEN_CLOSED):
            self.generator.close()
            return True
        return await self._thread.run(run, shielded=True)

    async def _step(self, step: Callable[[], _T]) -> _T:
        # StopIteration cannot leave a coroutine, so it becomes a value in the thread.
        def run() -> tuple[bool, _T | None]:
            try:
                return True, step()
            except StopIteration:
                return False, None
            except StopAsyncIteration as error:
                # The stream would take this for the generator's end.
                raise RuntimeError("generator raised StopAsyncIteration") from error

        await trio.lowlevel.checkpoint_if_cancelled()
        yielded, value = await self._thread.run(run)
        if not yielded:
            raise StopAsyncIteration
        return cast("_T", value)


async def close_for_good(steps: Steps, name: str) -> None:
    """Close a generator, so that the garbage collector has nothing to unwind. `name` is for the log."""
    for _ in range(CLOSE_ATTEMPTS):
        if await steps.close():
            return
    _log.error("%s yields whatever is raised in it and cannot be closed; it is given up.", name)


def steps_of(generator: object, thread: Callable[[], StreamThread]) -> Steps:
    """The steps of `generator`.

    Args:
        generator: async or plain.
        thread: gives a plain one its thread.

    Raises:
        TypeError: it is not a generator.
    """
    if inspect.isasyncgen(generator):
        return AsyncSteps(cast("AsyncGeneratorType[object, None]", generator))
    if inspect.isgenerator(generator):
        return ThreadSteps(cast("Generator[object, Any, Any]", generator), thread())
    raise TypeError(f"expected a generator, got {type(generator).__name__}")
