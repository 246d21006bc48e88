"""The warning about clean-up that was cut, because it awaited without `flash.cleanup()`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress

import anyio
import anyio.abc
import pytest
import trio
import trio.testing

import flash
from flash import EndReason
from tests.contract.pretend_page import OpenPage, PretendPage, cancelled, line_of, on_mock_clock, warnings

clock = on_mock_clock

Make = Callable[[], AsyncGenerator[int, None]]


class Client:
    """What has to say goodbye."""

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        await trio.sleep(0.1)  # goodbye


@asynccontextmanager
async def opened() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await trio.lowlevel.checkpoint()  # managed


async def in_finally() -> AsyncGenerator[int, None]:
    try:
        while True:
            yield 1
            await trio.sleep(1)
    finally:
        await trio.lowlevel.checkpoint()  # cut


async def in_except() -> AsyncGenerator[int, None]:
    try:
        while True:
            yield 1
            await trio.sleep(1)
    except BaseException:
        await trio.lowlevel.checkpoint()  # cut
        raise


async def in_aexit() -> AsyncGenerator[int, None]:
    async with Client():
        while True:
            yield 1
            await trio.sleep(1)


async def in_a_context_manager() -> AsyncGenerator[int, None]:
    async with opened():
        while True:
            yield 1
            await trio.sleep(1)


async def in_an_exit_stack() -> AsyncGenerator[int, None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Client())
        while True:
            yield 1
            await trio.sleep(1)


async def in_a_task() -> AsyncGenerator[int, None]:
    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await trio.lowlevel.checkpoint()  # cut

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        yield 1
        await trio.sleep_forever()


async def before_others() -> AsyncGenerator[int, None]:
    try:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            await trio.lowlevel.checkpoint()  # cut
    finally:
        await trio.sleep(1)


CUT: list[tuple[Make, Callable[..., object], str]] = [
    (in_finally, in_finally, "# cut"),
    (in_except, in_except, "# cut"),
    (in_aexit, Client.close, "# goodbye"),
    (in_a_context_manager, opened.__wrapped__, "# managed"),  # pyright: ignore[reportFunctionMemberAccess]
    (in_an_exit_stack, Client.close, "# goodbye"),
    (in_a_task, in_a_task, "# cut"),
    (before_others, before_others, "# cut"),
]


@pytest.mark.parametrize(("generator", "function", "text"), CUT)
async def test_clean_up_that_was_cut_is_reported_with_its_line_and_the_remedy(
    page: PretendPage, caplog: pytest.LogCaptureFixture, generator: Make, function: Callable[..., object], text: str
) -> None:
    await cancelled(page, generator)
    [warning] = warnings(caplog)
    assert "'test'" in warning
    assert "with flash.cleanup():" in warning
    assert line_of(function, text) in warning


async def test_clean_up_that_was_cut_is_reported_of_a_generator_that_stood_at_its_yield(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def fast() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            await trio.lowlevel.checkpoint()  # cut

    # Nobody reads: it waits for room.
    await cancelled(page, fast)
    [warning] = warnings(caplog)
    assert line_of(fast, "# cut") in warning


async def silent_while_waiting() -> AsyncGenerator[int, None]:
    while True:
        yield 1
        await trio.sleep(1)


async def silent_while_trying_again() -> AsyncGenerator[int, None]:
    yield 1
    while True:
        try:
            raise ValueError
        except ValueError:
            await trio.sleep(1)


async def silent_with_a_nursery() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield 1
        await trio.sleep_forever()


async def silent_with_channels() -> AsyncGenerator[int, None]:
    send, receive = trio.open_memory_channel[int](0)
    async with send, receive:
        yield 1
        await receive.receive()


async def silent_with_streams() -> AsyncGenerator[int, None]:
    one, other = trio.testing.memory_stream_pair()
    try:
        yield 1
        await other.receive_some()
    finally:
        await one.aclose()


async def silent_with_anyio() -> AsyncGenerator[int, None]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(trio.sleep_forever)
        yield 1
        await stream.receive()


async def silent_with_a_shield() -> AsyncGenerator[int, None]:
    try:
        yield 1
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(0.1, shield=True):
            await trio.sleep_forever()


async def silent_with_a_handler() -> AsyncGenerator[int, None]:
    try:
        yield 1
        await trio.sleep_forever()
    except trio.Cancelled:
        with suppress(ZeroDivisionError):
            _ = 1 / 0
        raise


@pytest.mark.parametrize(
    "generator",
    [
        silent_while_waiting,
        silent_while_trying_again,
        silent_with_a_nursery,
        silent_with_channels,
        silent_with_streams,
        silent_with_anyio,
        silent_with_a_shield,
        silent_with_a_handler,
    ],
)
async def test_a_generator_whose_clean_up_was_not_cut_is_not_reported(
    page: PretendPage, caplog: pytest.LogCaptureFixture, generator: Make
) -> None:
    await cancelled(page, generator)
    assert warnings(caplog) == []


async def test_clean_up_of_a_stream_that_fails_is_not_cut(page: PretendPage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
            raise ValueError
        finally:
            await trio.sleep(1)
            seen.append("closed")

    page.start(fails)
    await page.read_to_end()
    assert seen == ["closed"]
    assert not any("cleanup" in message for message in warnings(caplog))


async def test_an_update_that_clean_up_yields_is_dropped_and_reported(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def says_goodbye() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            yield 2  # goodbye

    stream = await cancelled(page, says_goodbye)
    assert page.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    [warning] = warnings(caplog)
    assert "dropped" in warning
    assert "on_error" in warning
    assert line_of(says_goodbye, "# goodbye") in warning


async def test_clean_up_that_was_cut_is_reported_once_the_page_is_gone(
    open_page: OpenPage, caplog: pytest.LogCaptureFixture
) -> None:
    page = await open_page()
    page.start(in_finally)
    await page.settle()
    await page.channels.shut_down()
    [warning] = warnings(caplog)
    assert line_of(in_finally, "# cut") in warning


@pytest.mark.parametrize("shield", [flash.cleanup, lambda: trio.CancelScope(shield=True)])
async def test_what_is_yielded_under_a_shield_after_the_cancellation_is_dropped_too(
    page: PretendPage, caplog: pytest.LogCaptureFixture, shield: Callable[[], AbstractContextManager[object]]
) -> None:
    seen: list[str] = []

    async def says_goodbye() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with shield():
                yield 2
                yield 3
                seen.append("went on")

    stream = await cancelled(page, says_goodbye)
    assert page.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    assert seen == ["went on"]
    [warning] = warnings(caplog)
    assert "dropped" in warning
    assert "on_error" in warning


async def test_a_stream_that_is_cancelled_while_somebody_handles_a_cancellation_was_not_cut_by_that(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def waits() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.lowlevel.checkpoint()

    stream = page.start(waits)
    await page.settle()
    with trio.CancelScope() as other:
        other.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            # Made here, the stream's own Cancelled has this one for its context.
            stream.scope.cancel(EndReason.CANCELLED)
            raise
    await page.read_to_end()
    assert page.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    assert warnings(caplog) == []
