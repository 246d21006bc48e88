"""The table of claims in Redis, and how a worker fares with a real Redis that forgets, falls silent, and is back."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
import redis
import trio
import trio.testing
import trustme
from hypothesis import HealthCheck, given, settings, strategies as st

from flash.errors import InvalidOption
from flash.workers import redis_claims as module, redis_directory
from flash.workers.directory import Holder, browser_key
from flash.workers.redis_claims import RedisClaims, check_redis, check_url
from flash.workers.redis_directory import Answer, RedisDirectory, Unreachable
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

WORKERS = {name: Holder(name, f"{name}/{name}", here=True) for name in "123"}


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that no test disturbs."""
    with RedisServer.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that a test may do with as it likes."""
    with RedisServer.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


async def start(nursery: trio.Nursery, url: str, name: str, prefix: str = "test:") -> RedisDirectory:
    """A worker on a machine of its own, which takes part."""

    async def neighbours() -> list[str]:
        return []

    directory = RedisDirectory(RedisClaims(url, prefix), name, f"{name}/{name}", neighbours)
    await nursery.start(directory.run)
    return directory


async def join(claims: RedisClaims, *names: str, again: bool = False) -> None:
    for name in names:
        await claims.join(WORKERS[name], is_stopping=False, again=again)


async def holder(claims: RedisClaims, name: str, browser: str, dead: str = "") -> str:
    """What the table answers to a claim: the name of the holder, or another answer."""
    answer = await claims.claim(WORKERS[name], browser, dead)
    return answer.value if isinstance(answer, Answer) else answer.name


async def test_a_worker_whose_heartbeat_has_lapsed_loses_its_browsers_and_has_to_join_again(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = RedisClaims(shared_redis.url, "lapse:")
    async with claims.connected():
        await join(claims, "1", "2")
        assert await holder(claims, "2", "a") == "2"
        assert await holder(claims, "1", "a") == "2"
        monkeypatch.setattr(module, "LEASE", 0.2)
        assert await claims.beat(WORKERS["2"])
        monkeypatch.undo()

        async def has_lapsed() -> bool:
            return await holder(claims, "1", "a") == "1"

        await eventually(has_lapsed)
        assert not await claims.beat(WORKERS["2"])
        assert await claims.claim(WORKERS["2"], "a", "") is Answer.LAPSED
        assert await claims.workers() == [("1", "1/1")]
        await join(claims, "2", again=True)
        assert await claims.hold(WORKERS["2"], ["a", "b"]) == ["a"]
        assert await holder(claims, "1", "b") == "2"


async def test_the_heartbeats_of_a_worker_keep_it_from_lapsing(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(module, "LEASE", 1.5)
    monkeypatch.setattr(redis_directory, "HEARTBEAT_INTERVAL", 0.05)
    one, two = [await start(nursery, shared_redis.url, name, "beats:") for name in "12"]
    await one.claim("a")
    await trio.sleep(2)
    assert await two.claim("a") == Holder("1", "1/1", here=False)
    nursery.cancel_scope.cancel()


class SlowRedis:
    """In place of the client of coredis: a Redis that takes 3 ms of Trio's clock for each call, one after the other."""

    def __init__(self) -> None:
        self._one_by_one = trio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def register_script(self, script: str) -> Callable[..., Awaitable[Sequence[str]]]:
        return self._call

    async def _call(self, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[str]:
        async with self._one_by_one:
            await trio.sleep(0.003)
        operation, _, worker, *_ = arguments
        return {"claim": [redis_directory.HELD, "1", worker], "beat": ["1"]}.get(operation, [])


async def test_the_claims_of_a_crowd_that_take_longer_than_one_call_may_do_not_look_like_a_redis_that_is_away(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = SimpleNamespace(from_url=lambda *_, **options: SlowRedis())
    monkeypatch.setattr(module, "_coredis", lambda: SimpleNamespace(Redis=client))
    directory = await start(nursery, "redis://slow", "1", "crowd:")
    began = trio.current_time()
    async with trio.open_nursery() as crowd:
        for number in range(4_000):
            crowd.start_soon(directory.claim, str(number))
    assert trio.current_time() - began > 4_000 * 0.003 > 10 * module.TIMEOUT
    assert caplog.messages == []
    nursery.cancel_scope.cancel()


async def test_an_answer_that_a_held_up_event_loop_reads_too_late_is_asked_for_again(shared_redis: RedisServer) -> None:
    claims = RedisClaims(shared_redis.url, "held up:", timeout=0.5)

    async def hold_up() -> None:
        time.sleep(0.7)

    async with claims.connected():
        await join(claims, "1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold_up)
            assert await holder(claims, "1", "a") == "1"


async def test_nobody_takes_a_browser_while_workers_write_back_what_they_hold(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_TIMEOUT", 1.5)
    claims = RedisClaims(shared_redis.url, "settle:")
    async with claims.connected():
        await join(claims, "1", "2")
        await join(claims, "1", again=True)
        # It was not forgotten, so nobody else was.
        assert await holder(claims, "1", "a") == "1"
        await join(claims, "3", again=True)
        assert await holder(claims, "3", "b") == "settling"
        assert await holder(claims, "3", "a") == "1"
        await claims.hold(WORKERS["2"], ["b"])
        assert await holder(claims, "3", "b") == "2"

        async def has_settled() -> bool:
            return await holder(claims, "3", "c") == "3"

        await eventually(has_settled)


async def test_what_a_stopping_worker_holds_goes_to_whoever_claims_it(shared_redis: RedisServer) -> None:
    claims = RedisClaims(shared_redis.url, "stopping:")
    async with claims.connected():
        await join(claims, "1", "2", "3")
        for browser in "ab":
            await holder(claims, "1", browser)
        await claims.stop(WORKERS["1"])
        assert await holder(claims, "2", "a") == "2"
        await claims.stop(WORKERS["3"])
        assert await holder(claims, "3", "b") == "1"
        assert await holder(claims, "3", "c") == "refused"


async def test_a_browser_of_a_worker_that_is_known_to_be_dead_can_be_taken_at_once(shared_redis: RedisServer) -> None:
    claims = RedisClaims(shared_redis.url, "dead:")
    async with claims.connected():
        await join(claims, "1", "2", "3")
        await holder(claims, "1", "a")
        assert await holder(claims, "2", "a", dead="3/3") == "1"
        assert await holder(claims, "2", "a", dead="1/1") == "2"


async def test_a_heartbeat_is_late_before_the_worker_has_lapsed(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = RedisClaims(shared_redis.url, "late:")
    async with claims.connected():
        await join(claims, "1")
        assert not await claims.is_late(WORKERS["1"])
        assert await claims.is_late(WORKERS["2"]), "it has no record"
        monkeypatch.setattr(module, "LATE", 1)
        await eventually(lambda: claims.is_late(WORKERS["1"]))
        await claims.beat(WORKERS["1"])
        assert not await claims.is_late(WORKERS["1"])
        await claims.stop(WORKERS["1"])
        assert await claims.is_late(WORKERS["1"])


async def test_a_late_worker_is_forgotten_and_learns_it_by_its_next_heartbeat(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = RedisClaims(shared_redis.url, "forget:")
    async with claims.connected():
        await join(claims, "1")
        await join(claims, "2")
        assert await holder(claims, "1", "a") == "1"
        assert not await claims.forget_late(WORKERS["1"])
        assert await claims.beat(WORKERS["1"]), "it was in time"
        # So that every heartbeat is late, even one of this millisecond.
        monkeypatch.setattr(module, "LATE", -1)
        assert not await claims.forget_late(WORKERS["1"])
        assert await holder(claims, "2", "a") == "2"
        assert not await claims.beat(WORKERS["1"])
        await claims.stop(WORKERS["2"])
        assert await claims.forget_late(WORKERS["2"])
        assert await claims.beat(WORKERS["2"]), "it says by itself when it is over"


async def test_redis_learns_neither_a_cookie_nor_anything_else_that_lasts(shared_redis: RedisServer) -> None:
    claims = RedisClaims(shared_redis.url, "keys:")
    secret = "the secret of a browser"
    async with claims.connected():
        await join(claims, "1")
        await holder(claims, "1", browser_key(secret))
        with redis.from_url(shared_redis.url, decode_responses=True) as client:
            keys: dict[str, int] = {key: client.ttl(key) for key in client.scan_iter("keys:*")}
        assert set(keys) == {"keys:worker:1/1", "keys:workers", f"keys:browser:{browser_key(secret)}"}
        assert {key for key, lasts in keys.items() if lasts < 0} == {"keys:workers"}


STEPS = st.tuples(
    st.sampled_from(["claim", "give_up", "hold", "join", "leave", "stop"]),
    st.sampled_from("123"),
    st.sampled_from("ab"),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_a_browser_has_one_holder_at_most_whatever_happens(
    shared_redis: RedisServer, steps: list[tuple[str, str, str]]
) -> None:
    prefix = f"model{next(_numbers)}:"
    trio.run(_compare, RedisClaims(shared_redis.url, prefix), steps)


_numbers = iter(range(1_000_000))


async def _compare(claims: RedisClaims, steps: list[tuple[str, str, str]]) -> None:
    """Do steps with the table and with a model of it."""
    model: dict[str, str] = {}
    present: set[str] = set()
    stopping: set[str] = set()

    def expected(name: str, browser: str) -> str:
        if name not in present:
            return "lapsed"
        held_by = model.get(browser)
        if held_by in present and (held_by == name or name in stopping or held_by not in stopping):
            return str(held_by)
        if name in stopping:
            return "refused"
        model[browser] = name
        return name

    async with claims.connected():
        for step, name, browser in steps:
            worker = WORKERS[name]
            match step:
                case "claim":
                    assert await holder(claims, name, browser) == expected(name, browser)
                case "give_up":
                    await claims.give_up(worker, browser)
                    if model.get(browser) == name:
                        del model[browser]
                case "hold":
                    lost = await claims.hold(worker, [browser])
                    is_lost = model.get(browser) in present - {name}
                    assert lost == [browser] * is_lost
                    if not is_lost:
                        model[browser] = name
                case "join":
                    await join(claims, name)
                    present.add(name)
                    stopping.discard(name)
                case "leave":
                    await claims.leave(worker)
                    present.discard(name)
                case _:
                    await claims.stop(worker)
                    stopping |= {name} & present
            assert {found for found, _ in await claims.workers()} == present


async def test_a_redis_that_restarts_empty_is_told_what_is_held_before_anybody_takes_it(
    own_redis: RedisServer, nursery: trio.Nursery
) -> None:
    one, two = await start(nursery, own_redis.url, "1"), await start(nursery, own_redis.url, "2")
    for number in range(20):
        await one.claim(str(number))
    own_redis.restart()
    for number in range(20):
        assert await two.claim(str(number)) == Holder("1", "1/1", here=False)
    nursery.cancel_scope.cancel()


async def test_a_redis_that_is_stopped_is_done_without_until_it_is_started(
    own_redis: RedisServer, nursery: trio.Nursery
) -> None:
    one, two = await start(nursery, own_redis.url, "1"), await start(nursery, own_redis.url, "2")
    await one.claim("a")
    own_redis.stop()
    assert await one.claim("b") == Holder("1", "1/1", here=True)
    await eventually(lambda: (one.status, two.status) == ("away", "away"))
    own_redis.start()
    await eventually(lambda: (one.status, two.status) == ("ok", "ok"))
    for browser in "ab":
        assert await two.claim(browser) == Holder("1", "1/1", here=False)
    nursery.cancel_scope.cancel()


async def test_a_redis_that_is_silent_holds_up_a_claim_for_its_timeout_and_is_used_when_it_answers(
    own_redis: RedisServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.3)
    one, two = await start(nursery, own_redis.url, "1"), await start(nursery, own_redis.url, "2")
    await one.claim("a")
    own_redis.silence()
    began = trio.current_time()
    assert await one.claim("b") == Holder("1", "1/1", here=True)
    assert trio.current_time() - began < 2 * module.TIMEOUT
    await eventually(lambda: (one.status, two.status) == ("away", "away"))
    own_redis.go_on()
    await eventually(lambda: (one.status, two.status) == ("ok", "ok"))
    # Both have lapsed meanwhile, and neither has lost anything.
    for browser in "ab":
        assert await two.claim(browser) == Holder("1", "1/1", here=False)
    nursery.cancel_scope.cancel()


# What is refused before a server listens.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis://",
        "redis:///0",
        "http://host:6379",
        "unix:///run/redis",
        "redis://host:port",
        "redis://host:0",
        "redis://host/main",
        "redis://[host:6379",
        "redis://host:99999",
    ],
)
def test_what_is_no_address_of_a_redis_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption, match=r"^--redis .*: write redis://host:6379/0, or rediss:// for TLS\.$"):
        check_url(url)


@pytest.mark.parametrize("url", ["redis://host", "redis://user:secret@host:6379/2", "rediss://[::1]:6379"])
def test_what_is_one_is_taken(url: str) -> None:
    check_url(url)


def test_a_password_is_not_shown_in_the_error() -> None:
    with pytest.raises(InvalidOption, match=r"^--redis redis://\.\.\.@host:port: write "):
        check_url("redis://user:secret@host:port")


async def test_an_address_at_which_nobody_answers_is_refused() -> None:
    port = free_port()
    with pytest.raises(InvalidOption, match=rf"^--redis redis://127\.0\.0\.1:{port}: Redis cannot be used"):
        await check_redis(f"redis://127.0.0.1:{port}", "10.0.0.5:8051")


async def test_a_redis_that_is_silent_is_refused(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT", 0.2)
    own_redis.silence()
    with pytest.raises(InvalidOption, match=r"Redis cannot be used there: it has not answered within 0\.2 s\.$"):
        await check_redis(own_redis.url, "10.0.0.5:8051")
    own_redis.go_on()


async def test_an_address_that_another_machine_advertises_is_refused_until_that_one_is_dead(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_directory, "HEARTBEAT_INTERVAL", 0.05)
    monkeypatch.setattr(module, "LATE", 1.5)
    address = "10.0.0.5:8051"

    async def neighbours() -> list[str]:
        return []

    async with trio.open_nursery() as nursery:
        other = RedisDirectory(RedisClaims(own_redis.url), "other", f"{address}/3f9a01b2c4d5", neighbours)
        await nursery.start(other.run)
        with pytest.raises(InvalidOption, match=f"^The advertised address {address}: another server that shares the"):
            await check_redis(own_redis.url, address)
        await check_redis(own_redis.url, "10.0.0.5:80511")
        await check_redis(own_redis.url, "10.0.0.6:8051")
        nursery.cancel_scope.cancel()
    # It was killed, so Redis still knows it; nobody waits until it has lapsed.
    await check_redis(own_redis.url, address)


async def test_with_tls_the_certificate_is_checked_for_the_name_in_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    for name, is_its_own in (("127.0.0.1", True), ("elsewhere.example", False)):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "redis.pem"))
        port = free_port()
        tls = ["--tls-port", str(port), "--tls-cert-file", "redis.pem", "--tls-key-file", "redis.pem"]
        tls += ["--tls-ca-cert-file", "authority.pem", "--tls-auth-clients", "no"]
        with RedisServer.started(tmp_path, *tls, "--requirepass", "p@ss/word"):
            url = f"rediss://:p%40ss%2Fword@127.0.0.1:{port}/1"
            with nullcontext() if is_its_own else pytest.raises(InvalidOption, match="Redis cannot be used there"):
                await check_redis(url, "10.0.0.5:8051")


def test_without_the_package_for_redis_there_is_a_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(InvalidOption, match=r"takes the package coredis: `pip install 'flash-trio\[redis\]'`\.$"):
        check_url("redis://host")


async def test_a_call_without_a_connection_says_so() -> None:
    with pytest.raises(Unreachable, match="there is no connection"):
        await RedisClaims("redis://host").workers()
