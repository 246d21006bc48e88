"""Makes the apps of these tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from flash import Flash, html

Updates = AsyncGenerator[Any, None]


def app_with(*children: Any, **options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = html.Div(list(children))
    return app
