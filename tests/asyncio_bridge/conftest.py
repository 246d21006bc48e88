"""Fixtures: servers on free ports (see `tests/http/servers.py`)."""

from __future__ import annotations

from tests.http.conftest import serve as serve
from tests.websocket.conftest import connect as connect
