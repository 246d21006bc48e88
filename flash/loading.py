"""Loads modules without looking for garbage meanwhile.

Python looks for garbage each time that some hundred objects have come to be more than have gone, and now and then goes
through all that there are. Loading Dash, Trio and Quart makes a hundred thousand, of which nearly none is garbage: the
search finds next to nothing, and takes a fifth of the time.

When the modules are there, what they have made is put among the old objects at once (`freeze` and `unfreeze` do that),
through which Python goes seldom. Otherwise it would go through all of it soon, twice, to find that it has become old.
Where somebody has frozen objects already, they stay frozen. To learn of them, Python counts them, one after the other,
which takes 30 ms for those of a Flash app: so that is asked only after much was loaded.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator

MANY = 10_000
"""New objects that are worth putting among the old ones."""


@contextlib.contextmanager
def without_collections() -> Generator[None]:
    """Have Python look for no garbage while the block loads modules."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_count()[0] > MANY and gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()
