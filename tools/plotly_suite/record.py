"""The record of a run: a JSON line when a test starts, and one when its outcome is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def outcomes(record: Path) -> Iterator[dict[str, Any]]:
    """The lines of a record; of a last line that was cut, nothing."""
    if record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
