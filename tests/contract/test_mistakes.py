"""What a stream says of mistakes that raise nothing, and of failures that `on_error` has handled."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from flash.cancel_scopes import Condition
from flash.streams.mistakes import Mistakes
from flash.streams.stream import Stream
from tests.contract.pretend_page import PretendPage, on_mock_clock

clock = on_mock_clock


async def fails() -> AsyncGenerator[int, None]:
    yield 1
    raise KeyError("k")


async def endless() -> AsyncGenerator[int, None]:
    yield 1
    await trio.sleep_forever()


def end_of(page: PretendPage, stream: Stream) -> dict[str, Any]:
    (end,) = [data for name, data in page.seen if name == "end" and data["stream"] == stream.id]
    return end


def described(error: BaseException) -> bytes:
    return b'{"message":"%b","html":null}' % type(error).__name__.encode()


def mistakes(page: PretendPage) -> list[str]:
    return [data["message"] for name, data in page.seen if name == "mistake"]


async def test_a_failure_that_on_error_has_handled_says_so_and_is_no_error_in_the_log(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def on_error(error: BaseException) -> str:
        return "sorry"

    stream = page.start(fails, on_error=on_error, describe=described)
    await page.read_to_end()
    end = end_of(page, stream)
    assert (end["reason"], end["error"]["message"], end["handled"]) == ("failed", "KeyError", True)
    (record,) = [record for record in caplog.records if record.getMessage().startswith("test: failed")]
    assert record.levelno == logging.INFO
    assert record.exc_info is not None


async def test_one_that_on_error_has_made_worse_is_an_error(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_error(error: BaseException) -> str:
        raise RuntimeError("worse")

    stream = page.start(fails, on_error=on_error, describe=described)
    await page.read_to_end()
    assert "handled" not in end_of(page, stream)
    (record,) = [record for record in caplog.records if record.getMessage().startswith("test: failed")]
    assert record.levelno == logging.ERROR


async def test_one_that_nobody_handles_is_an_error(page: PretendPage) -> None:
    stream = page.start(fails, describe=described)
    await page.read_to_end()
    assert "handled" not in end_of(page, stream)


async def test_what_an_on_error_does_that_is_cut_is_not_handling(page: PretendPage) -> None:
    async def on_error(error: BaseException) -> None:
        await trio.sleep_forever()

    stream = page.start(fails, on_error=on_error, describe=described)
    await page.read_to_end()
    assert "handled" not in end_of(page, stream)


class Interrupting(BaseException):
    """What no code expects of a predicate."""


@pytest.mark.parametrize("error", [TypeError("unexpected"), Interrupting("unexpected")])
async def test_a_predicate_that_raises_cancels_and_is_told_once_in_the_log_and_in_the_page(
    page: PretendPage, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fussy(value: object) -> bool:
        raise error

    shared = Mistakes()
    for key in ("one", "two"):
        condition = Condition("x.value", fussy, counts=False)
        stream = page.start(endless, key, conditions=[condition], mistakes=shared, shows_mistakes=True)
        await page.settle()
        stream.scope.change(0, "b")
        await page.settle()
        assert end_of(page, stream)["reason"] == "cancelled"
    assert caplog.text.count("The predicate of the condition on x.value raised") == 1
    (message,) = mistakes(page)
    assert "unexpected" in message
    assert "'test'" in message


async def test_a_page_without_dev_tools_is_told_of_no_mistake(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def says_nothing() -> AsyncGenerator[None, None]:
        yield None
        yield None

    page.start(says_nothing)
    await page.read_to_end()
    assert mistakes(page) == []
    assert caplog.text.count("yielded None") == 1


async def test_a_page_with_them_is_told_each_once(page: PretendPage) -> None:
    async def says_nothing() -> AsyncGenerator[None, None]:
        yield None
        yield None

    for key in ("one", "two"):
        page.start(says_nothing, key, shows_mistakes=True)
        await page.settle()
    assert len(mistakes(page)) == 1


async def test_what_is_pushed_after_the_end_is_told_and_not_sent(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def brief() -> AsyncGenerator[int, None]:
        yield 1

    stream = page.start(brief)
    await page.read_to_end()
    stream.push(2)
    stream.push(3)
    assert page.read() == []
    assert caplog.text.count("after its stream had ended") == 1


async def test_what_an_on_error_raises_is_told_in_the_page_that_has_dev_tools(page: PretendPage) -> None:
    async def on_error(error: BaseException) -> str:
        raise RuntimeError("worse")

    page.start(fails, on_error=on_error, describe=described, shows_mistakes=True)
    await page.read_to_end()
    [message] = mistakes(page)
    assert "on_error of the event callback 'test' raised RuntimeError: worse" in message


async def test_an_async_predicate_that_nobody_knew_to_be_one_counts_as_one_that_raises(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def is_open(value: object) -> bool:
        return True

    condition = Condition("tabs.value", is_open, counts=False)  # that is the mistake
    stream = page.start(endless, conditions=[condition])
    await page.settle()
    stream.scope.change(0, "two")
    await page.settle()
    assert end_of(page, stream)["reason"] == "cancelled"
    assert "make it a plain function" in caplog.text
