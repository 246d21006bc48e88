"""What a worker does while the table of claims that it shares is away, and when that is back: without Redis."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from flash.workers import redis_directory as module
from flash.workers.directory import Holder
from flash.workers.redis_directory import Answer, RedisDirectory, Unreachable, delay_of

LEASE, LATE, SETTLE_TIMEOUT, TIMEOUT = 5.0, 1.5, 2.0, 1.0


class PretendClaims:
    """A table of claims in memory, which does as the one in Redis, and may be away. Several workers share one.

    Attributes:
        holders: of each browser that is held, the address of its holder.
        is_away: it refuses every call.
        is_silent: it answers no call.
    """

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.is_away = self.is_silent = False
        self._workers: dict[str, tuple[str, bool, float]] = {}
        self._settled_at = 0.0

    def forget(self) -> None:
        """Be as one that has restarted."""
        self.holders.clear()
        self._workers.clear()

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        yield

    async def join(self, worker: Holder, *, is_stopping: bool, again: bool) -> None:
        await self._call()
        if again and not self._lives(worker.address) and trio.current_time() >= self._settled_at:
            self._settled_at = trio.current_time() + SETTLE_TIMEOUT
        self._workers[worker.address] = (worker.name, is_stopping, trio.current_time() + LEASE)

    async def beat(self, worker: Holder) -> bool:
        await self._call()
        if not self._lives(worker.address):
            return False
        name, is_stopping, _ = self._workers[worker.address]
        self._workers[worker.address] = (name, is_stopping, trio.current_time() + LEASE)
        return True

    async def stop(self, worker: Holder) -> None:
        await self._call()
        name, _, until = self._workers[worker.address]
        self._workers[worker.address] = (name, True, until)

    async def leave(self, worker: Holder) -> None:
        await self._call()
        self._workers.pop(worker.address, None)

    async def claim(self, worker: Holder, browser: str, dead: str) -> Holder | Answer:
        await self._call()
        if not self._lives(worker.address):
            return Answer.LAPSED
        holder = self.holders.get(browser)
        if holder is None or holder == dead or not self._lives(holder):
            if self._workers[worker.address][1]:
                return Answer.REFUSED
            if trio.current_time() < self._settled_at:
                return Answer.SETTLING
            holder = self.holders[browser] = worker.address
        return Holder(self._workers[holder][0], holder, holder == worker.address)

    async def forget_late(self, worker: Holder) -> bool:
        await self._call()
        _, is_stopping, until = self._workers.get(worker.address, ("", False, 0.0))
        if not is_stopping and until < trio.current_time() + LEASE - LATE:
            self._workers.pop(worker.address, None)
        return is_stopping

    async def give_up(self, worker: Holder, browser: str) -> None:
        await self._call()
        if self.holders.get(browser) == worker.address:
            del self.holders[browser]

    async def hold(self, worker: Holder, browsers: Sequence[str]) -> Sequence[str]:
        await self._call()
        held = {browser: self.holders.get(browser, worker.address) for browser in browsers}
        lost = [browser for browser, holder in held.items() if holder != worker.address and self._lives(holder)]
        self.holders |= {browser: worker.address for browser in browsers if browser not in lost}
        return lost

    async def workers(self) -> Sequence[tuple[str, str]]:
        await self._call()
        return [(name, address) for address, (name, _, _) in self._workers.items() if self._lives(address)]

    def _lives(self, address: str) -> bool:
        return address in self._workers and self._workers[address][2] > trio.current_time()

    async def _call(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unreachable("it refuses")
        if self.is_silent:
            await trio.sleep(TIMEOUT)
            raise Unreachable("it is silent")


@pytest.fixture
def claims() -> PretendClaims:
    return PretendClaims()


StartWorker = Callable[..., Awaitable[RedisDirectory]]


@pytest.fixture
def worker(claims: PretendClaims, nursery: trio.Nursery) -> StartWorker:
    """Starts the worker of a name, on a machine of its own unless it is told the machine, and its workers."""

    async def start(name: str, machine: str = "", neighbours: Sequence[str] = ()) -> RedisDirectory:
        async def addresses() -> Sequence[str]:
            return neighbours

        directory = RedisDirectory(claims, name, f"{machine or name}/{name}", addresses)
        await nursery.start(directory.run)
        return directory

    return start


def here(name: str) -> Holder:
    return Holder(name, f"{name}/{name}", here=True)


def there(name: str) -> Holder:
    return Holder(name, f"{name}/{name}", here=False)


async def test_what_is_held_goes_on_being_held_here_while_the_table_is_away(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    assert await one.claim("a") == here("one")
    claims.is_away = True
    assert await one.claim("a") == here("one")
    assert one.status == "away"


async def test_a_browser_that_nobody_is_known_to_hold_is_held_here_while_the_table_is_away(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    claims.is_away = True
    assert await one.claim("a") == here("one")
    claims.is_away = False
    await trio.sleep(2)
    assert one.status == two.status == "ok"
    assert await two.claim("a") == there("one")


async def test_a_silent_table_holds_up_one_request_and_not_the_next(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    claims.is_silent = True
    began = trio.current_time()
    await one.claim("a")
    assert trio.current_time() - began == pytest.approx(TIMEOUT)
    began = trio.current_time()
    for browser in "bcd":
        await one.claim(browser)
        await one.give_up(browser)
        assert await one.workers() == [here("one")]
    assert trio.current_time() == began


async def test_a_silence_is_noticed_by_the_heartbeat_when_nobody_claims(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    claims.is_silent = True
    await trio.sleep(module.HEARTBEAT_INTERVAL + TIMEOUT + 0.1)
    assert one.status == "away"


async def test_the_log_says_once_that_the_table_is_away_and_once_that_it_is_back(
    claims: PretendClaims, worker: StartWorker, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    for _ in range(2):
        caplog.clear()
        claims.is_away = True
        await trio.sleep(10)
        for browser in "abc":
            await one.claim(browser)
        claims.is_away = False
        await trio.sleep(2)
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(said) == 2
        assert said[0].startswith("Redis is away: it refuses. What this worker holds goes on")
        assert said[1].startswith("Redis answers again, after ")


async def test_a_worker_starts_without_the_table_and_joins_when_that_is_there(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    claims.is_away = True
    one = await worker("one")
    assert one.status == "away"
    assert await one.claim("a") == here("one")
    claims.is_away = False
    await trio.sleep(2)
    assert one.status == "ok"
    assert claims.holders == {"a": "one/one"}


async def test_a_table_that_has_forgotten_everything_is_told_within_a_heartbeat_and_nobody_takes_what_is_held(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    browsers = [str(number) for number in range(2 * module.BATCH + 1)]
    for browser in browsers:
        await one.claim(browser)
    await two.give_up("0")
    claims.forget()
    # The second worker is the first one to notice, and takes nobody whom the first one may hold.
    assert await two.claim("0") == there("one")
    await trio.sleep(module.HEARTBEAT_INTERVAL)
    assert claims.holders == dict.fromkeys(browsers, "one/one")


async def test_many_claims_at_once_after_a_restart_make_a_worker_join_once(
    claims: PretendClaims, worker: StartWorker, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    joined: list[str] = []
    join = claims.join

    async def count(worker: Holder, *, is_stopping: bool, again: bool) -> None:
        joined.append(worker.name)
        await join(worker, is_stopping=is_stopping, again=again)

    monkeypatch.setattr(claims, "join", count)
    claims.forget()
    async with trio.open_nursery() as nursery:
        for browser in "abcdef":
            nursery.start_soon(one.claim, browser)
    assert joined == ["one"]
    assert claims.holders == dict.fromkeys("abcdef", "one/one")


async def test_a_new_browser_waits_until_the_table_has_settled_and_is_then_held_where_it_was_claimed(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    claims.forget()
    began = trio.current_time()
    assert await one.claim("a") == here("one")
    assert SETTLE_TIMEOUT <= trio.current_time() - began < SETTLE_TIMEOUT + 2 * module.SETTLING_INTERVAL


async def test_of_two_that_hold_a_browser_after_an_absence_one_loses_it(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    workers = {name: await worker(name) for name in ("one", "two")}
    lost: list[tuple[str, str]] = []
    for name, each in workers.items():
        each.on_lost = lambda browser, name=name: lost.append((name, browser))
    claims.is_away = True
    for each in workers.values():
        assert (await each.claim("a")) is not None
    claims.is_away = False
    await trio.sleep(2)
    (loser, browser), *others = lost
    assert (browser, others) == ("a", [])
    winner = "two" if loser == "one" else "one"
    for each in workers.values():
        holder = await each.claim("a")
        assert holder is not None
        assert holder.name == winner


async def test_a_worker_that_was_taken_for_dead_loses_what_others_have_claimed_and_keeps_the_rest(
    claims: PretendClaims, worker: StartWorker, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    lost: list[str] = []
    one.on_lost = lost.append
    for browser in "ab":
        await one.claim(browser)
    beat = claims.beat

    async def hang(worker: Holder) -> bool:
        if worker.name == "one":
            await trio.sleep(2 * LEASE)
        return await beat(worker)

    monkeypatch.setattr(claims, "beat", hang)
    await trio.sleep(1.5 * LEASE)
    assert await two.claim("a") == here("two")
    monkeypatch.undo()
    await trio.sleep(2 * LEASE)
    assert lost == ["a"]
    assert await one.claim("a") == there("two")
    assert await two.claim("b") == there("one")


async def test_what_was_given_up_while_the_table_was_away_is_not_written_back(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    claims.is_away = True
    for browser in "ab":
        await one.claim(browser)
    await one.give_up("a")
    claims.is_away = False
    await trio.sleep(2)
    assert claims.holders == {"b": "one/one"}


async def test_other_workers_that_are_known_stay_known_while_the_table_is_away(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one, _ = await worker("one"), await worker("two")
    assert await one.workers() == [here("one"), there("two")]
    claims.is_away = True
    assert await one.workers() == [here("one"), there("two")]


async def test_what_a_killed_worker_of_the_same_machine_has_held_is_taken_at_once(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one", "machine", ["machine/one"])
    killed = await worker("killed", "machine", ["machine/killed"])
    await killed.claim("a")
    assert await one.workers() == [Holder("one", "machine/one", here=True)]
    assert await one.claim("a") == Holder("one", "machine/one", here=True)


async def test_a_neighbour_that_lives_and_a_worker_elsewhere_keep_their_browsers(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one", "machine", ["machine/one", "machine/two"])
    two = await worker("two", "machine", ["machine/one", "machine/two"])
    three = await worker("three")
    await two.claim("a")
    await three.claim("b")
    assert await one.claim("a") == Holder("two", "machine/two", here=False)
    assert await one.claim("b") == there("three")


async def test_a_stopping_worker_holds_nobody_new_whether_the_table_is_there_or_not(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    assert not await one.stop()
    assert await one.claim("a") is None
    claims.is_away = True
    assert await one.claim("b") is None
    claims.forget()
    claims.is_away = False
    await trio.sleep(3)
    assert await one.claim("c") is None


async def test_a_worker_that_stops_learns_whether_there_are_other_machines(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one", "machine", ["machine/one", "machine/two"])
    await worker("two", "machine", ["machine/one", "machine/two"])
    assert not await one.stop()
    three = await worker("three")
    assert await one.stop()
    assert [one.is_near(each) for each in await one.workers()] == [True, False, True]
    assert three.status == "ok"


async def test_a_worker_that_leaves_is_not_waited_for(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    await one.claim("a")
    await one.leave()
    assert await two.claim("a") == here("two")


async def test_what_is_held_for_long_is_written_again(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one = await worker("one")
    await one.claim("a")
    claims.holders.clear()
    await trio.sleep(module.REFRESH_INTERVAL + 2)
    assert claims.holders == {"a": "one/one"}


def test_the_delays_between_attempts_double_up_to_a_bound() -> None:
    assert [delay_of(failures) for failures in (1, 2, 3)] == [0.05, 0.1, 0.2]
    assert delay_of(1_000) == module.LONGEST_DELAY


async def test_what_a_worker_has_held_is_taken_at_once_when_its_machine_says_that_it_is_gone(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    assert await one.claim("a") == here("one")
    assert await two.claim("a") == there("one")
    two.note_gone(there("one"))
    began = trio.current_time()
    assert await two.claim("a") == here("two")
    assert await two.workers() == [here("two")]
    assert trio.current_time() == began
    for number in range(module.GONE_KNOWN):
        two.note_gone(there(str(number)))
    assert [each.name for each in await two.workers()] == ["one", "two"], "not all are remembered for ever"


async def test_what_a_worker_has_held_is_taken_when_its_machine_refuses_connections_and_its_heartbeat_is_late(
    claims: PretendClaims, worker: StartWorker, autojump_clock: MockClock
) -> None:
    await claims.join(there("dead"), is_stopping=False, again=False)
    assert await claims.claim(there("dead"), "a", "") == here("dead")
    one, two = await worker("one"), await worker("two")
    assert await one.claim("b") == here("one")
    await two.note_unreachable(there("dead"))
    assert await two.claim("a") == there("dead"), "its heartbeat may come yet"
    await trio.sleep(LATE + 0.1)
    assert await two.claim("a") == there("dead"), "its event loop may be held up"
    await two.note_unreachable(there("dead"))
    assert await two.claim("a") == here("two")
    await two.note_unreachable(there("one"))
    assert await two.claim("b") == there("one"), "a firewall may keep this worker out"
    claims.is_away = True
    await two.note_unreachable(there("one"))
    assert two.status == "away"


async def test_a_worker_that_was_late_and_could_not_be_reached_joins_again_and_loses_what_was_taken(
    claims: PretendClaims, worker: StartWorker, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    one, two = await worker("one"), await worker("two")
    lost: list[str] = []
    one.on_lost = lost.append
    for browser in "ab":
        assert await one.claim(browser) == here("one")
    beat = claims.beat

    async def hang(worker: Holder) -> bool:
        if worker.name == "one":
            await trio.sleep(2 * LATE)
        return await beat(worker)

    monkeypatch.setattr(claims, "beat", hang)
    await trio.sleep(2 * LATE)
    await two.note_unreachable(there("one"))
    assert await two.claim("a") == here("two")
    monkeypatch.undo()
    await trio.sleep(2 * LATE)
    assert lost == ["a"]
    assert await one.claim("a") == there("two")
    assert await two.claim("b") == there("one")
    assert await two.workers() == [there("one"), here("two")]
