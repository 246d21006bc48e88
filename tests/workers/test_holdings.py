"""Which browsers a worker holds: claimed once, counted by use, and given up when nothing of them is left."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash.errors import RequestRefused
from flash.workers import holdings as module
from flash.workers.directory import Claims, Holder, browser_key
from flash.workers.holdings import Holdings
from tests.workers.conftest import ClaimsDirectory


class SlowDirectory(ClaimsDirectory):
    """Answers when it is let to.

    Attributes:
        going_on: until this is set, claims and what is given up wait.
        hears_what_is_given_up: until this is set, too, what is given up waits.
        given_up: what was given up.
    """

    def __init__(self, claims: Claims, name: str) -> None:
        super().__init__(claims, name)
        self.going_on = trio.Event()
        self.hears_what_is_given_up = trio.Event()
        self.hears_what_is_given_up.set()
        self.given_up: list[str] = []

    async def claim(self, browser: str) -> Holder | None:
        await self.going_on.wait()
        return await super().claim(browser)

    async def note_unreachable(self, worker: Holder) -> None:
        await trio.lowlevel.checkpoint()

    def note_gone(self, worker: Holder) -> None:
        raise AssertionError("nobody is gone")

    async def give_up(self, browser: str) -> None:
        await self.going_on.wait()
        await self.hears_what_is_given_up.wait()
        self.given_up.append(browser)
        await super().give_up(browser)


@pytest.fixture
def claims() -> Claims:
    claims = Claims()
    claims.join("1", "/one")
    claims.join("2", "/two")
    return claims


@pytest.fixture
def directory(claims: Claims) -> SlowDirectory:
    return SlowDirectory(claims, "1")


@pytest.fixture
def holdings(directory: SlowDirectory) -> Holdings:
    return Holdings(directory)


async def test_many_claims_at_a_time_ask_the_directory_once(
    directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    holders: list[Holder | None] = []

    async def claim() -> None:
        holders.append(await holdings.claim("a"))

    for _ in range(12):
        nursery.start_soon(claim)
    await wait_all_tasks_blocked()
    directory.going_on.set()
    await wait_all_tasks_blocked()
    assert holders == [Holder("1", "/one", here=True)] * 12
    assert directory.asked == ["a"]


async def test_a_browser_is_given_up_when_its_last_use_is_over(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    nursery.start_soon(holdings.give_up_unused)
    directory.going_on.set()
    secret = "the secret of a browser"
    browser = browser_key(secret)
    await holdings.claim(browser)
    holdings.enter(secret)
    holdings.release(browser)
    await wait_all_tasks_blocked()
    assert browser in holdings
    holdings.leave(secret)
    await wait_all_tasks_blocked()
    assert len(claims) == len(holdings) == 0
    nursery.cancel_scope.cancel()


async def test_a_use_that_comes_before_the_browser_is_given_up_keeps_it(
    directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    directory.going_on.set()
    await holdings.claim("a")
    holdings.release("a")
    assert await holdings.take("a")
    nursery.start_soon(holdings.give_up_unused)
    await wait_all_tasks_blocked()
    assert "a" in holdings
    assert directory.given_up == []
    nursery.cancel_scope.cancel()


async def test_a_claim_waits_until_the_browser_is_given_up(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    directory.going_on.set()
    await holdings.claim("a")
    directory.going_on = trio.Event()
    holdings.release("a")
    nursery.start_soon(holdings.give_up_unused)
    await wait_all_tasks_blocked()
    assert "a" not in holdings
    nursery.start_soon(holdings.claim, "a")
    await wait_all_tasks_blocked()
    assert directory.asked == ["a"]
    directory.going_on.set()
    await wait_all_tasks_blocked()
    assert directory.asked == ["a", "a"]
    assert "a" in holdings
    assert claims.claim("a", "2") == Holder("1", "/one", here=False)
    nursery.cancel_scope.cancel()


async def test_a_request_of_another_worker_waits_for_the_claim_that_is_under_way(
    directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    taken: list[bool] = []

    async def take() -> None:
        taken.append(await holdings.take("a"))

    nursery.start_soon(holdings.claim, "a")
    await wait_all_tasks_blocked()
    nursery.start_soon(take)
    await wait_all_tasks_blocked()
    assert taken == []
    directory.going_on.set()
    await wait_all_tasks_blocked()
    assert taken == [True]


async def test_a_worker_that_is_taken_for_a_holder_by_mistake_says_so_to_the_directory(
    claims: Claims, directory: SlowDirectory, holdings: Holdings
) -> None:
    directory.going_on.set()
    claims.claim("a", "1")
    assert not await holdings.take("a")
    assert len(claims) == 0


async def test_a_claim_is_not_overtaken_by_the_word_that_the_browser_was_not_held(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    directory.going_on.set()
    directory.hears_what_is_given_up = trio.Event()
    nursery.start_soon(holdings.take, "a")
    await wait_all_tasks_blocked()
    nursery.start_soon(holdings.claim, "a")
    await wait_all_tasks_blocked()
    directory.hears_what_is_given_up.set()
    await wait_all_tasks_blocked()
    assert "a" in holdings
    # Else a second worker would come to hold it.
    assert claims.claim("a", "2") == Holder("1", "/one", here=False)


async def test_a_claim_whose_client_leaves_is_not_forgotten(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    nursery.start_soon(holdings.give_up_unused)
    with trio.CancelScope() as scope:

        async def go_on() -> None:
            scope.cancel()
            await wait_all_tasks_blocked()
            directory.going_on.set()

        nursery.start_soon(go_on)
        holder = await holdings.claim("a")
        assert holder is not None
        holdings.release("a")
    await wait_all_tasks_blocked()
    assert len(claims) == len(holdings) == 0
    nursery.cancel_scope.cancel()


async def test_the_holder_elsewhere_is_remembered_until_it_is_forgotten(
    claims: Claims, directory: SlowDirectory, holdings: Holdings
) -> None:
    directory.going_on.set()
    claims.claim("a", "2")
    for _ in range(3):
        assert await holdings.claim("a") == Holder("2", "/two", here=False)
    assert directory.asked == ["a"]
    claims.leave("2")
    holdings.forget("a")
    assert await holdings.claim("a") == Holder("1", "/one", here=True)


async def test_holders_elsewhere_are_remembered_within_a_bound(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN", 10)
    directory.going_on.set()
    for number in range(25):
        claims.claim(str(number), "2")
        await holdings.claim(str(number))
    assert len(holdings._known) <= 10


async def test_nobody_is_held_by_a_worker_that_may_not(
    claims: Claims, directory: SlowDirectory, holdings: Holdings
) -> None:
    directory.going_on.set()
    claims.stop("1")
    assert await holdings.claim("a") is None
    with pytest.raises(RequestRefused, match="does not hold this browser"):
        holdings.enter("a")


async def test_a_browser_that_is_lost_is_sent_to_its_holder_while_what_is_here_goes_on(
    claims: Claims, directory: SlowDirectory, holdings: Holdings
) -> None:
    directory.going_on.set()
    secret = "the secret of a browser"
    browser = browser_key(secret)
    await holdings.claim(browser)
    claims.give_up(browser, "1")
    claims.claim(browser, "2")
    holdings.lose(browser)
    assert browser not in holdings
    assert len(holdings) == 0
    assert await holdings.claim(browser) == Holder("2", "/two", here=False)
    assert not await holdings.take(browser)
    holdings.enter(secret)
    holdings.leave(secret)


async def test_a_browser_that_was_lost_can_be_held_again_and_is_given_up_when_all_of_it_is_over(
    claims: Claims, directory: SlowDirectory, holdings: Holdings, nursery: trio.Nursery
) -> None:
    nursery.start_soon(holdings.give_up_unused)
    directory.going_on.set()
    await holdings.claim("a")
    holdings.lose("a")
    holdings.lose("b")
    assert await holdings.claim("a") == Holder("1", "/one", here=True)
    assert "a" in holdings
    holdings.release("a")
    await wait_all_tasks_blocked()
    assert directory.given_up == []
    holdings.release("a")
    await wait_all_tasks_blocked()
    assert directory.given_up == ["a"]
    assert len(holdings) == 0
    nursery.cancel_scope.cancel()
