"""Streams that the server's own code ends: which ones, how, and what of them waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import trio

from flash import EndReason, StreamCancelled
from flash.errors import RequestRefused
from flash.nursery import REMEMBERED_REVOKED
from flash.streams import revoked
from flash.streams.limits import Load, ServerLimits, StreamInfo
from flash.streams.revoked import KEPT_FOR, RevokedStreams
from flash.streams.stream import Stream
from tests.contract.pretend_page import (
    BROWSER,
    OpenPage,
    PretendPage,
    cleaning_up,
    connect,
    endless,
    on_mock_clock,
)

clock = on_mock_clock


def every(info: StreamInfo) -> bool:
    return True


def of(user: str) -> Callable[[StreamInfo], bool]:
    return lambda info: info.user == user


async def slowly(error: BaseException) -> None:
    await trio.sleep(1)


async def running(page: PretendPage, *keys: str, **options: Any) -> list[Stream]:
    """Endless streams that have opened, one for each key."""
    streams = [page.start(endless, key, **options) for key in keys]
    await page.settle()
    return streams


async def test_a_revoked_stream_ends_like_any_other_and_says_why(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[StreamCancelled] = []

    async def on_error(error: StreamCancelled) -> None:
        told.append(error)

    [stream] = await running(page, "key", on_error=on_error, user="ada")
    with caplog.at_level(logging.INFO):
        assert page.channels.revoke(every, "100 % logged out") == 1
        await page.settle()
    assert page.log(stream) == ["open", 0, ("revoked", ["reset", "off"])]
    [error] = told
    assert (error.reason, error.why) == (EndReason.REVOKED, "100 % logged out")
    assert str(error) == "The stream was ended (revoked): 100 % logged out."
    assert "test of 'ada': revoked after 0.000 s, 1 updates: 100 % logged out" in caplog.text


async def test_only_streams_that_fit_end(page: PretendPage) -> None:
    [one] = await running(page, "1", user="ada")
    [two] = await running(page, "2", user="eve")
    [three] = await running(page, "3")
    assert page.channels.revoke(of("ada"), "") == 1
    await page.settle()
    assert [stream.state for stream in (two, three)] == ["running", "running"]
    assert page.log(one)[-1][0] == "revoked"
    assert [info.user for info in page.channels.streams()] == ["eve", None]


async def test_streams_that_are_ending_already_are_not_counted(page: PretendPage) -> None:
    unwinding = page.start(cleaning_up(partial(trio.sleep, 1)), "1")
    finishing = page.start(endless, "2", on_error=slowly)
    [stream] = await running(page, "3")
    unwinding.scope.cancel(EndReason.CANCELLED)
    finishing.scope.cancel(EndReason.TIMED_OUT)
    await page.settle()
    assert page.channels.revoke(every, "") == 1
    assert page.channels.revoke(every, "") == 0
    await trio.sleep(2)
    page.read()
    assert [page.log(each)[-1][0] for each in (unwinding, finishing, stream)] == ["cancelled", "timed_out", "revoked"]


async def test_it_does_not_wait_for_clean_up(page: PretendPage) -> None:
    stream = page.start(cleaning_up(partial(trio.sleep, 3)))
    await page.settle()
    before = trio.current_time()
    assert page.channels.revoke(every, "") == 1
    assert trio.current_time() == before
    assert page.channels.streams()[0].state == "ending"
    await trio.sleep(4)
    page.read()
    assert page.log(stream)[-1][0] == "revoked"


async def test_nothing_ends_if_it_cannot_be_said_what_fits(page: PretendPage) -> None:
    await running(page, "1", "2", "3")
    asked: list[str] = []

    def fits(info: StreamInfo) -> bool:
        asked.append(info.key)
        if info.key == "3":
            raise ValueError("third")
        return True

    with pytest.raises(ValueError, match="third"):
        page.channels.revoke(fits, "")
    assert len(asked) == 3
    assert [info.state for info in page.channels.streams()] == ["running"] * 3


async def test_a_start_that_waits_is_asked_about_and_does_not_open(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    first = page.start(cleaning_up(partial(trio.sleep, 1)), user="ada")
    await page.settle()
    second = page.start(endless, user="eve")
    await page.settle()
    assert [(info.user, info.state) for info in page.channels.revocable()] == [("ada", "ending"), ("eve", "waiting")]
    with caplog.at_level(logging.INFO):
        assert page.channels.revoke(of("eve"), "logged out") == 0
    assert "test of 'eve': revoked before it was started: logged out" in caplog.text
    await trio.sleep(2)
    page.read()
    assert page.log(first)[-1][0] == "superseded"
    assert page.log(second) == []
    assert page.channels.streams() == []


async def test_a_start_that_waits_and_does_not_fit_opens(page: PretendPage) -> None:
    first = page.start(cleaning_up(partial(trio.sleep, 1)), user="ada")
    await page.settle()
    second = page.start(endless, user="eve")
    assert page.channels.revoke(of("ada"), "") == 0
    await trio.sleep(2)
    page.read()
    assert page.log(first)[-1][0] == "superseded"
    assert page.log(second)[0] == "open"


async def test_a_page_that_is_cut_off_is_told_when_it_is_back(nursery: trio.Nursery, open_page: OpenPage) -> None:
    page = await open_page(reconnect_grace=5)
    [stream] = await running(page, "key")
    page.link.detach(EndReason.DISCONNECTED)
    await trio.sleep(1)
    assert page.channels.revoke(every, "") == 1
    await trio.sleep(1)
    page.link = await connect(page.channels, nursery, life=page.link.channel.life, number=page.number, turn=1)
    page.read()
    assert page.log(stream)[-1] == ("revoked", ["reset", "off"])


async def back(page: PretendPage, nursery: trio.Nursery, turn: int = 1) -> tuple[str, ...]:
    """Open a new link of a page; returns the ids of revoked streams that `hello` names."""
    life = page.link.channel.life
    page.link = await connect(page.channels, nursery, life=life, number=page.number, turn=turn)
    return page.link.channel.revoked


async def test_a_page_that_is_back_in_a_new_life_is_told_which_streams_were_revoked(
    nursery: trio.Nursery, open_page: OpenPage
) -> None:
    page = await open_page(reconnect_grace=5)
    [one] = await running(page, "1", user="ada")
    [two] = await running(page, "2", user="eve")
    page.link.detach(EndReason.DISCONNECTED)
    assert page.channels.revoke(of("ada"), "") == 1
    await trio.sleep(6)
    assert two.scope.reason is EndReason.DISCONNECTED
    assert await back(page, nursery) == (one.id,)
    # It may be lost again before it has heard that.
    page.link.detach(EndReason.DISCONNECTED)
    await trio.sleep(6)
    assert await back(page, nursery, turn=2) == (one.id,)


async def test_what_was_revoked_of_pages_that_are_away_is_forgotten_after_an_hour(
    nursery: trio.Nursery, open_page: OpenPage
) -> None:
    page = await open_page(reconnect_grace=5)
    await running(page, "1")
    page.link.detach(EndReason.DISCONNECTED)
    page.channels.revoke(every, "")
    await trio.sleep(KEPT_FOR + 6)
    assert await back(page, nursery) == ()


async def test_only_the_streams_that_were_revoked_last_are_remembered(page: PretendPage) -> None:
    for _ in range(REMEMBERED_REVOKED + 5):
        page.start(endless)
        await page.settle()
        page.channels.revoke(every, "")
        await page.settle()
    life = page.link.channel.life
    assert page.link.channel.revoked == tuple(f"{life}-{number}" for number in range(6, REMEMBERED_REVOKED + 6))


async def test_the_pages_that_were_lost_first_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoked, "KEPT_PAGES", 2)
    told: list[tuple[str, Sequence[str]]] = []
    remembered = RevokedStreams()
    remembered.tell = lambda page, streams: told.append((page, streams))
    for page in ("1", "2", "1", "3"):
        remembered.page_left(page, [f"of {page}"])
    remembered.page_left("4", [])
    assert [remembered.page_came(page) for page in "1234"] == [("of 1",), (), ("of 3",), ()]
    assert [remembered.page_came(page) for page in "13"] == [(), ()]
    assert told == [(page, [f"of {page}"]) for page in "1213"]


# Streams of one user


async def test_a_user_has_so_many_streams_whatever_the_page(nursery: trio.Nursery, page: PretendPage) -> None:
    channels = page.channels
    channels.load.limits = ServerLimits(streams_per_user=2)
    other = PretendPage(channels, await connect(channels, nursery, "other", BROWSER))
    await running(page, "1", user="ada")
    await running(other, "1", user="ada")
    await running(other, "2", "3", user="eve")
    await running(other, "4", "5", "6")
    with pytest.raises(RequestRefused, match=r"'test' was not started: 2 streams of this user run.*in this server pro"):
        page.start(endless, "2", user="ada")
    # A run that takes the place of one of the same user is not one more, but it is if that is another's.
    page.start(endless, "1", user="ada")
    with pytest.raises(RequestRefused) as caught:
        page.start(endless, "1", user="eve")
    assert caught.value.status == 429
    channels.revoke(of("ada"), "")
    await page.settle()
    assert channels.load.users == {"eve": 2}
    await running(page, "1", "2", user="ada")


async def test_without_a_limit_or_a_user_any_number_runs(page: PretendPage) -> None:
    await running(page, *map(str, range(9)), user="ada")
    page.channels.load.limits = ServerLimits(streams_per_user=1)
    await running(page, *map(str, range(10, 20)))


def test_what_is_counted_for_users_is_forgotten_with_their_last_stream() -> None:
    load = Load()
    load.began("ada")
    load.began(None)
    load.ended("ada")
    load.ended(None)
    assert (load.streams, load.users) == (0, {})
