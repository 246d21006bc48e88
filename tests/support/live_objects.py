"""Finds the objects of a class that are alive in this process, for tests of what is kept and what is let go.

It asks `type(...)` and not `isinstance`, which reads `__class__`: a lazy proxy answers that by making what it stands
for. Celery's does, so that looking at it would set up an app.
"""

from __future__ import annotations

import gc
from typing import TypeVar

T = TypeVar("T")


def live_objects(*kinds: type[T]) -> list[T]:
    """The objects of these classes and their subclasses that the garbage collector tracks after it has collected."""
    gc.collect()
    return [kept for kept in gc.get_objects() if issubclass(type(kept), kinds)]
