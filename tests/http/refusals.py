"""What a refusal looks like."""

from __future__ import annotations

import httpx


def assert_refused(response: httpx.Response, status: int, *words: str) -> None:
    """A response is one clear sentence with this status and these words: no HTML, no traceback, not empty."""
    text = response.text
    assert response.status_code == status, (response.status_code, text)
    assert response.headers["content-type"].startswith("text/plain"), response.headers
    assert 10 < len(text) < 400, text
    assert text.endswith("."), text
    assert "\n" not in text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text
