"""Makes and recognises names that cannot be guessed: of pages, and of browsers."""

from __future__ import annotations

import re
import secrets

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")


def new_token() -> str:
    """A name for a page, or a secret for a browser: 192 random bits, 32 characters."""
    return secrets.token_urlsafe(24)


def is_token(value: object) -> bool:
    """Whether `value` is a well-formed token: any process accepts one, so that a page can come back to any."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None
