"""Warns when the distribution `dash-flash`, which has a package `flash` too, is installed beside this one.

Both write `flash/__init__.py` into the same folder, so the one that was installed last is imported, and uninstalling
either breaks the other.
"""

from __future__ import annotations

import warnings
from importlib import metadata

OTHER = "dash-flash"


def warn_of_dash_flash() -> None:
    """Warn, with the remedy, if `dash-flash` is installed; the warning names the import of `flash`."""
    try:
        metadata.distribution(OTHER)
    except metadata.PackageNotFoundError:
        return
    warnings.warn(
        f"{OTHER} is installed, too, and puts a package of the same name, `flash`, into this environment, where either "
        f"may overwrite the other: run `pip uninstall {OTHER}`, then `pip install --force-reinstall --no-deps "
        "flash-trio`.",
        stacklevel=3,
    )
