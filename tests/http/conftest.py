"""A fixture that starts servers, for tests over real sockets; `servers.py` tells how it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.http.servers import Serve, Servers
from tests.support.eventually import TIMEOUT

LIMIT = 2 * TIMEOUT
"""Seconds that a test with a server may take."""


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers; they are shut down when the test is over. A test that hangs fails after `LIMIT` seconds."""
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery)
        nursery.start_soon(_watch)
        try:
            yield servers.start
        finally:
            with trio.CancelScope(shield=True):
                await servers.stop()
        nursery.cancel_scope.cancel()


async def _watch() -> None:
    await trio.sleep(LIMIT)
    pytest.fail(f"the test has taken longer than {LIMIT:g} s")
