"""Fixtures: servers on free ports, websockets to them, and the same app twice, with Dash on Flask and with Flash."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.flask_apps.twins import Build, MakeTwins, Twins, running_dash
from tests.http.conftest import serve as serve
from tests.http.pages import new_client
from tests.http.servers import Serve
from tests.websocket.conftest import connect as connect
from tests.workers.conftest import fleet as fleet


@pytest.fixture
async def twins(serve: Serve) -> AsyncIterator[MakeTwins]:
    """Makes an app twice, and serves both until the test is over."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(build: Build) -> Twins:
            port = stack.enter_context(running_dash(build))
            dash = await stack.enter_async_context(new_client(port))
            server = await serve(build.flash())
            return Twins(server, server.browser(), dash)

        yield make
