"""Has pages load themselves again, whole, when the code or the assets of the app have changed: Dash's hot reloading.

With it, each page asks for a hash every few seconds, and loads itself again when it is not the one that it had.

Where only code has changed, Dash has the page fetch its layout again, in the same document. With Flash, each layout has
a token and a secret of its own, and the document's link and its streams are those of the layout before. So each answer
says that the page is to load the whole document (`hard`), whose streams then start. A page still exchanges a style
sheet alone if only that has changed. Dash says `hard` to the first page that asks, and to no other.

Dash makes the hash at random, in each process another: a page that is answered now by one and now by another would load
itself for ever. So several processes of one app agree on it.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from hashlib import sha256
from typing import Any, cast

import dash


class SharedReloadHash(dash.Dash):
    """A Dash app whose pages load the whole document when its hash has changed.

    The hash follows, once the app shares it, from a seed and from the files that have changed since.
    """

    _seed: str | None = None

    def share_reload_hash(self, seed: str) -> None:
        """Have the hash be the same in each process that is given the same seed."""
        self._seed = seed
        self._make_hash({})

    def serve_reload_hash(self) -> Any:
        """The answer to a page that asks for the hash."""
        reload: Any = self._hot_reload
        with reload.lock:
            reload.hard = True
            return super().serve_reload_hash()

    def _make_hash(self, changed: dict[str, float]) -> None:
        """
        Args:
            changed: the files that have changed, and when.
        """
        self._changed = changed
        reload: Any = self._hot_reload
        if reload.hash is not None:
            # Each process watches by itself, and may see the files in another order.
            reload.hash = sha256(f"{self._seed} {sorted(changed.items())}".encode()).hexdigest()

    def _on_assets_change(self, filename: str, modified: float, deleted: bool) -> None:
        cast("Any", super())._on_assets_change(filename, modified, deleted)
        if self._seed is not None:
            self._make_hash(self._changed | {filename: modified})
