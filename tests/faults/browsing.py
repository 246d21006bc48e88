"""What fault tests in a browser share: a property as the page has it, and a port for a server that comes back."""

from __future__ import annotations

import random
import socket

from playwright.sync_api import Page


def prop_of(page: Page, component_id: str, name: str) -> object:
    """A property of a component, as the page has it now."""
    return page.evaluate(
        "([id, name]) => dash_component_api.getLayout(id)?.props?.[name] ?? null", [component_id, name]
    )


def free_port() -> int:
    """A port that no outgoing connection is given, so that it stays free while nothing listens there."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
