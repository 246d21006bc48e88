"""Has several processes of one app sign background callbacks with the same secret.

A page that has started a background callback is given the name of its job, signed, and asks for its progress and its
result by that. Without a `secret_key`, Dash keeps the secret in the store of the results. The first process that needs
it makes one at random and writes it there; under `CeleryManager`, two that do so at the same moment have one each, and
neither knows what the other has signed: the page never sees a result. Processes that propose the same cannot differ.
"""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import Any, cast

import dash


class SharedSigningSecret(dash.Dash):
    """A Dash app that proposes to the store of background callbacks, once it shares it, a secret made of a seed."""

    _signing_seed: str | None = None

    def share_signing_secret(self, seed: str) -> None:
        """Have the secret be the same in each process that is given the same seed, which nobody else may know."""
        self._signing_seed = seed

    def _resolve_fallback_signing_secret(self) -> bytes:
        dash_app = cast("Any", super())
        if self._signing_seed is None:
            return dash_app._resolve_fallback_signing_secret()
        proposed = sha256(f"flash background callbacks {self._signing_seed}".encode()).hexdigest().encode()
        for manager in dash_app._background_managers():
            # As in Dash, a store that is away keeps no app from being served.
            with contextlib.suppress(Exception):
                if stored := manager.get_or_create_signing_secret(lambda: proposed):
                    return stored.encode() if isinstance(stored, str) else bytes(stored)
        return proposed
