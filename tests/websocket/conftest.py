"""Fixtures: servers on free ports (see `tests/http/servers.py`), and websockets to them, closed before they stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash import hooks
from tests.http.conftest import serve as serve
from tests.http.servers import Serve
from tests.websocket.sockets import Connect, Sockets


@pytest.fixture
async def connect(serve: Serve) -> AsyncIterator[Connect]:
    """Opens websockets, as the browser of a page would."""
    async with trio.open_nursery() as nursery:
        sockets = Sockets(nursery)
        try:
            yield sockets.connect
        finally:
            with trio.CancelScope(shield=True):
                await sockets.close()
        nursery.cancel_scope.cancel()


@pytest.fixture
def own_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks are of the process: those of the test are gone after it."""
    registry: Any = hooks
    monkeypatch.setattr(registry, "_ns", {name: list(entries) for name, entries in registry._ns.items()})
