"""Makes and recognises random tokens, which name pages and browsers and cannot be guessed."""

from __future__ import annotations

import re
import secrets

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")


def new_token() -> str:
    """A new secret of a page or a browser: 192 random bits in 32 characters."""
    return secrets.token_urlsafe(24)


def is_token(value: object) -> bool:
    """Whether `value` is a well-formed token, from whichever process: a page may reconnect to any of them."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None
