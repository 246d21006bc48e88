"""What every `Directory` promises to its workers: the supervisor's table of claims, and the one in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import trio

from flash.workers.directory import Claims, Directory, Holder
from flash.workers.redis_claims import RedisClaims
from flash.workers.redis_directory import RedisDirectory
from tests.support.redis_server import RedisServer
from tests.workers.conftest import ClaimsDirectory

NAMES = ("1", "2", "3")


class Workers(Protocol):
    """The directories of three workers, by their names, and what may become of a worker."""

    directories: dict[str, Directory]

    async def stop(self, name: str) -> None: ...
    async def leave(self, name: str) -> None: ...


class WorkersOfSupervisor:
    def __init__(self) -> None:
        self._claims = Claims()
        for name in NAMES:
            self._claims.join(name, f"/run/{name}")
        self.directories: dict[str, Directory] = {name: ClaimsDirectory(self._claims, name) for name in NAMES}

    async def stop(self, name: str) -> None:
        self._claims.stop(name)

    async def leave(self, name: str) -> None:
        self._claims.leave(name)


class WorkersOnRedis:
    def __init__(self, url: str, prefix: str) -> None:
        async def neighbours() -> list[str]:
            return [f"/run/{name}" for name in NAMES]

        self._workers = {
            # No test here is about a Redis that is away: what a busy machine takes is not to look like one.
            name: RedisDirectory(RedisClaims(url, prefix, timeout=60), name, f"/run/{name}", neighbours)
            for name in NAMES
        }
        self.directories: dict[str, Directory] = {**self._workers}

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for worker in self._workers.values():
                await nursery.start(worker.run)
            task_status.started()

    async def stop(self, name: str) -> None:
        await self._workers[name].stop()

    async def leave(self, name: str) -> None:
        await self._workers[name].leave()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer.started(folder) as server:
        yield server


@pytest.fixture(params=["supervisor", "redis"])
async def workers(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[Workers]:
    async with trio.open_nursery() as nursery:
        if request.param == "supervisor":
            yield WorkersOfSupervisor()
        else:
            on_redis = WorkersOnRedis(redis.url, f"{request.node.name}:")
            await nursery.start(on_redis.run)
            yield on_redis
        nursery.cancel_scope.cancel()


async def claim(workers: Workers, name: str, browser: str) -> str | None:
    """The name of the browser's holder, when a worker claims it."""
    holder = await workers.directories[name].claim(browser)
    if holder is None:
        return None
    assert holder == Holder(holder.name, f"/run/{holder.name}", here=holder.name == name)
    return holder.name


async def test_the_first_claim_makes_its_worker_the_holder_and_later_ones_are_told_so(workers: Workers) -> None:
    assert [await claim(workers, name, "a") for name in "212"] == ["2", "2", "2"]


async def test_a_browser_that_was_given_up_is_held_by_whoever_claims_it_next(workers: Workers) -> None:
    await claim(workers, "2", "a")
    await workers.directories["2"].give_up("a")
    assert await claim(workers, "3", "a") == "3"


async def test_only_the_holder_can_give_a_browser_up(workers: Workers) -> None:
    await claim(workers, "2", "a")
    await workers.directories["1"].give_up("a")
    await workers.directories["1"].give_up("b")
    assert await claim(workers, "1", "a") == "2"


async def test_a_worker_that_leaves_loses_its_browsers_and_no_other_does(workers: Workers) -> None:
    for name, browser in (("1", "a"), ("1", "b"), ("2", "c")):
        await claim(workers, name, browser)
    await workers.leave("1")
    assert [await claim(workers, name, browser) for name, browser in (("3", "a"), ("2", "b"), ("3", "c"))] == [
        "3",
        "2",
        "2",
    ]


async def test_a_stopping_worker_gets_nobody_new_keeps_what_it_has_and_is_told_of_others(workers: Workers) -> None:
    await claim(workers, "1", "a")
    await workers.stop("1")
    assert await claim(workers, "1", "b") is None
    assert await claim(workers, "1", "a") == "1"
    await claim(workers, "2", "c")
    assert await claim(workers, "1", "c") == "2"


async def test_every_worker_is_listed(workers: Workers) -> None:
    assert list(await workers.directories["2"].workers()) == [
        Holder("1", "/run/1", here=False),
        Holder("2", "/run/2", here=True),
        Holder("3", "/run/3", here=False),
    ]


async def test_claims_of_one_browser_that_race_have_one_holder_two_hundred_times(workers: Workers) -> None:
    holders: dict[str, list[str | None]] = {str(number): [] for number in range(200)}

    async def race(name: str, browser: str) -> None:
        holders[browser].append(await claim(workers, name, browser))

    async with trio.open_nursery() as nursery:
        for browser in holders:
            for name in NAMES:
                nursery.start_soon(race, name, browser)
    assert [(len(found), len(set(found)), None in found) for found in holders.values()] == [(3, 1, False)] * 200
