"""Calls the table of claims in Redis, which the workers of several machines share.

    RedisDirectory ── claim, give_up, ... ── RedisClaims ── coredis ── Redis: redis_claims.lua

Every operation is one call of one script, which Redis runs as a whole: claims cannot race. Every call has a timeout,
and whatever keeps it from being answered is one exception, `Unreachable`: a refused connection, a Redis that is silent
on a connection that looks healthy, one that is read-only or out of memory.

A timeout has to tell something of Redis, not of this process. So the claims of a crowd of browsers take turns, and a
call's time begins with its turn; and what an event loop that was held up has not read in time is asked for again.

What is to be done then is decided in `redis_directory`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import ssl
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from ..errors import InvalidOption
from .directory import Holder
from .redis_directory import HELD, Answer, Unreachable

URL_VARIABLE = "FLASH_REDIS_URL"
"""The variable of the environment that has the address of Redis."""

TIMEOUT = 1.0
"""Seconds in which Redis has to answer."""

START_TIMEOUT = 3.0
"""The same when a server starts, where a name may have to be looked up first."""

AT_ONCE = 32
"""How many calls that concern one browser wait for Redis at a time. More make none of them sooner."""

HELD_UP = 0.1
"""Seconds after a timeout at which a call that wakes up shows that the event loop was held up meanwhile."""

MAX_ATTEMPTS = 3
"""How often a call is made whose answer came too late for an event loop that was held up."""

PREFIX = "{flash}:"
"""What all keys begin with. Braces have Redis keep them in one place."""

LEASE = 5.0
"""Seconds without a heartbeat after which a worker is taken for dead."""

LATE = 1.5
"""Seconds without a heartbeat after which it is late: one and a half times the interval of heartbeats."""

SETTLE_TIMEOUT = 2.0
"""Seconds that all workers have to write back what they hold when Redis has lost one, as when it restarts empty."""

RECORD_TTL = 3_600.0
"""Seconds after which Redis forgets who holds a browser, unless the holder says so again."""

_SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")


def check_url(url: str) -> None:
    """
    Raises:
        InvalidOption: this is no address of a Redis, or the package that speaks to it is not installed.
    """
    try:
        parts = urlsplit(url)
        database = parts.path.strip("/")
        is_valid = bool(parts.hostname) and parts.port != 0 and (not database or database.isdecimal())
    except ValueError:
        is_valid, parts = False, urlsplit("")
    if not is_valid or parts.scheme not in ("redis", "rediss"):
        raise InvalidOption(f"--redis {_without_password(url)}: write redis://host:6379/0, or rediss:// for TLS.")
    _coredis()


def _without_password(url: str) -> str:
    """An address as the log may have it."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else url


def _coredis() -> Any:
    """The package that speaks to Redis."""
    try:
        coredis = importlib.import_module("coredis")
    except ModuleNotFoundError as error:
        raise InvalidOption("--redis takes the package coredis: `pip install 'flash-trio[redis]'`.") from error
    # It logs each attempt to connect. Here, the log says once that Redis is away, and once that it is back.
    logger = logging.getLogger("coredis")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    return coredis


async def check_redis(url: str, machine: str) -> None:
    """
    Args:
        url: the address of Redis.
        machine: the address that this machine is about to advertise.

    Raises:
        InvalidOption: no Redis answers at this address, or another machine is known there by that of this one.
    """
    check_url(url)
    claims = RedisClaims(url, timeout=START_TIMEOUT)
    failure: Unreachable | None = None
    is_taken = False
    async with claims.connected():
        try:
            is_taken = await _is_taken(claims, machine)
        except Unreachable as error:
            failure = error
    if is_taken:
        raise InvalidOption(
            f"The advertised address {machine}: another server that shares the Redis has it. Give each its own."
        )
    if failure is not None:
        raise InvalidOption(f"--redis {_without_password(url)}: Redis cannot be used there: {failure}.")


async def _is_taken(claims: RedisClaims, machine: str) -> bool:
    """Whether workers live on a machine with this address. Those of one that was killed are late soon."""
    deadline = trio.current_time() + 2 * LATE
    while True:
        workers = [
            Holder(*each, here=False) for each in await claims.workers() if each[1].rpartition("/")[0] == machine
        ]
        if not [worker for worker in workers if not await claims.is_late(worker)]:
            return False
        if trio.current_time() > deadline:
            return True
        await trio.sleep(LATE / 10)


class RedisClaims:
    """The table of claims in Redis. See `SharedClaims` in `redis_directory` for what its methods do."""

    def __init__(self, url: str, prefix: str = PREFIX, timeout: float = TIMEOUT) -> None:
        """
        Args:
            url: the address of Redis: redis://host:port/database.
            prefix: what all keys begin with.
            timeout: seconds in which Redis has to answer.
        """
        self._url = url
        self._prefix = prefix
        self._timeout = timeout
        self._script: Any = None
        self._turns = trio.CapacityLimiter(AT_ONCE)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """While the block runs, calls can be made. It is to raise nothing: others may be among its connections."""
        options: dict[str, Any] = {"connect_timeout": self._timeout, "stream_timeout": self._timeout}
        if self._url.startswith("rediss:"):
            # By itself it does not compare the name in a certificate with the one in the address.
            options["ssl_context"] = ssl.create_default_context()
        client: Any = _coredis().Redis.from_url(
            self._url, decode_components=True, decode_responses=True, verify_version=False, **options
        )
        async with client:
            self._script = client.register_script(_SCRIPT)
            # Those that wait for their turn at the last connection are not to keep anybody waiting at this one.
            self._turns = trio.CapacityLimiter(AT_ONCE)
            try:
                yield
            finally:
                self._script = None

    async def join(self, worker: Holder, *, is_stopping: bool, again: bool) -> None:
        settle = _milliseconds(SETTLE_TIMEOUT) if again else 0
        await self._call("join", worker.address, worker.name, str(int(is_stopping)), _milliseconds(LEASE), settle)

    async def beat(self, worker: Holder) -> bool:
        return bool(await self._call("beat", worker.address, _milliseconds(LEASE)))

    async def stop(self, worker: Holder) -> None:
        await self._call("stop", worker.address)

    async def leave(self, worker: Holder) -> None:
        await self._call("leave", worker.address)

    async def claim(self, worker: Holder, browser: str, dead: str) -> Holder | Answer:
        answer, *holder = await self._call_in_turn("claim", worker.address, browser, _milliseconds(RECORD_TTL), dead)
        return Holder(*holder, here=holder[1] == worker.address) if answer == HELD else Answer(answer)

    async def is_late(self, worker: Holder) -> bool:
        """Whether a worker's heartbeat is late, or it stops."""
        return bool(await self._call("is_late", worker.address, _milliseconds(LEASE - LATE)))

    async def forget_late(self, worker: Holder) -> bool:
        return bool(await self._call("forget_late", worker.address, _milliseconds(LEASE - LATE)))

    async def give_up(self, worker: Holder, browser: str) -> None:
        await self._call_in_turn("give_up", worker.address, browser)

    async def hold(self, worker: Holder, browsers: Sequence[str]) -> list[str]:
        return await self._call("hold", worker.address, _milliseconds(RECORD_TTL), *browsers)

    async def workers(self) -> list[tuple[str, str]]:
        found: list[str] = await self._call("workers")
        return list(zip(found[::2], found[1::2], strict=True))

    async def _call_in_turn(self, operation: str, *arguments: str | int) -> Any:
        """`_call`, for what every browser of a crowd asks for at the same time."""
        script = self._script
        async with self._turns:
            if self._script is not script:
                raise Unreachable("the connection is closed")
            return await self._call(operation, *arguments)

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        """Have Redis do something. It may do so twice, which changes nothing.

        Raises:
            Unreachable: it has not answered, or refuses.
        """
        if self._script is None:
            raise Unreachable("there is no connection")
        for _ in range(MAX_ATTEMPTS):
            deadline = trio.current_time() + self._timeout
            try:
                with trio.move_on_at(deadline):
                    return await self._script([], [operation, self._prefix, *arguments])
            # Whatever fails in the library that speaks to Redis, the browsers that are held are to go on.
            except Exception as error:
                raise Unreachable(str(error).rstrip(".") or type(error).__name__) from error
            if trio.current_time() < deadline + HELD_UP or self._script is None:
                break
        raise Unreachable(f"it has not answered within {self._timeout:g} s")


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1_000)
