"""Forgets callbacks that were declared without an app: the next app of the process would take them."""

from __future__ import annotations

from dash._callback import GLOBAL_CALLBACK_LIST, GLOBAL_CALLBACK_MAP

from flash.event_callbacks import GLOBAL_EVENT_CALLBACKS


def forget_global_callbacks() -> None:
    """Forget those that no app has taken yet."""
    GLOBAL_EVENT_CALLBACKS.take()
    GLOBAL_CALLBACK_LIST.clear()
    GLOBAL_CALLBACK_MAP.clear()
