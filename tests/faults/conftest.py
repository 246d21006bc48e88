"""A server in the test's own process, and a certificate for those that speak TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve as serve_with_hypercorn

from flash import Flash
from tests.faults.sockets import Site
from tests.support.eventually import TIMEOUT

Serve = Callable[..., Awaitable[Site]]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files for a server, and what makes a client trust it."""

    certfile: str
    keyfile: str
    trust: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that no authority has signed but one of the tests' own."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "certificate.pem", append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Certificate(str(folder / "certificate.pem"), str(folder / "key.pem"), trust)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves apps with Hypercorn's trio worker until the test is over; then nothing of a page may be left."""
    started: list[tuple[Flash, Site, trio.Event, trio.Event]] = []

    async def start(app: Flash, *, tls: Certificate | None = None, **options: Any) -> Site:
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.backlog = 2_000
        config.graceful_timeout = 0.5
        if tls is not None:
            config.certfile, config.keyfile = tls.certfile, tls.keyfile
        for name, value in options.items():
            assert hasattr(config, name), name
            setattr(config, name, value)
        stop, stopped = trio.Event(), trio.Event()

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            await serve_with_hypercorn(app, config, shutdown_trigger=stop.wait, task_status=task_status)
            stopped.set()

        (bound,) = await nursery.start(run)
        site = Site(urlsplit(bound).port or 0, tls.trust if tls is not None else None)
        started.append((app, site, stop, stopped))
        return site

    async with trio.open_nursery() as nursery:
        try:
            yield start
        finally:
            with trio.CancelScope(shield=True), trio.fail_after(TIMEOUT):
                for app, site, stop, stopped in started:
                    await site.close()
                    stop.set()
                    await stopped.wait()
                    assert app.streams() == []
                    assert len(app.channels) == 0
