"""Reports calls of `set_props` that come after their callback was answered, by a task or thread that it left behind.

Dash collects what a callback gives to `set_props`, and sends it with the answer. What comes later would be lost, and
nobody would know.
"""

from __future__ import annotations

from typing import Any

from ..streams.mistakes import Mistakes


class LateProps(dict[Any, Any]):
    """The `updated_props` of a callback context whose callback has been answered."""

    __slots__ = ("_callback", "_mistakes")

    def __init__(self, callback: str, mistakes: Mistakes) -> None:
        super().__init__()
        self._callback = callback
        self._mistakes = mistakes

    def get(self, key: Any, default: Any = None) -> Any:
        return default

    def __setitem__(self, component_id: Any, props: Any) -> None:
        self._mistakes.log_once(
            f"late set_props in {self._callback}",
            f"set_props({component_id!r}, ...) was called in the callback {self._callback!r} after it had been "
            "answered, and changed nothing. Wait for tasks and threads before the callback returns, or make it an "
            "event callback, which yields its updates for as long as it likes.",
        )
