"""An earlier version of Flash, out of the history of the repository, to be measured beside the present one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from pathlib import Path

from benchmarks.harness import ROOT, say

BEFORE_SHORT_WRITES = "21fcc2ef9dc5"
"""The last commit in which an update that came alone was an event of its own, and went over TLS by the link's task."""


@contextlib.contextmanager
def earlier(commit: str) -> Generator[Path | None]:
    """A folder from which `serve` runs Flash as it was at a commit, with the benchmarks of today.

    None, and one sentence to whoever waits, where the history is not at hand: in a shallow clone, or an sdist.
    """
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "flash"]
    try:
        packed = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        say(f"The history of the repository is not here, so Flash is not measured beside its version {commit}.")
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
        yield folder
