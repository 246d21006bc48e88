"""Makes the folder in which the workers of one supervisor have their sockets for each other.

Whoever can connect to such a socket can speak for every browser, so the folder is open to its owner alone (mode 0700),
and a folder is used only if that is so. It is made anew in the folder for temporary files, unless one is named.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path

from ..errors import InvalidOption

MODE = 0o700

LOCK = "supervisor.lock"
"""The file that the supervisor holds a lock of."""

LONGEST_PATH = 80
"""Bytes that the path of the folder may have: a socket's path may have 103, and its own name takes some of them."""


@contextlib.contextmanager
def socket_directory(path: str | None) -> Generator[Path]:
    """A folder for sockets while the block runs.

    Args:
        path: the folder, which is made if it is not there; None for a new one.

    Raises:
        InvalidOption: the folder cannot be used: it is another user's, or open to others, or another supervisor's.
    """
    with contextlib.ExitStack() as stack:
        if path is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flash-")))
        else:
            folder = Path(path).absolute()
            _make(folder)
        if len(os.fsencode(folder)) > LONGEST_PATH:
            raise InvalidOption(
                f"The path {str(folder)!r} is too long for the sockets of workers: name a shorter one with "
                "--socket-directory."
            )
        if path is not None:
            _check(folder)
            stack.enter_context(_locked(folder))
        yield folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=MODE)
    except FileExistsError:
        pass
    except OSError as error:
        raise InvalidOption(f"The socket directory {str(folder)!r} cannot be made: {error.strerror}.") from error


def _check(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidOption(f"{str(folder)!r} is no directory, and so cannot be the socket directory.")
    if found.st_uid != os.geteuid():
        raise InvalidOption(f"The socket directory {str(folder)!r} belongs to another user: name one of your own.")
    if stat.S_IMODE(found.st_mode) & ~MODE:
        raise InvalidOption(f"The socket directory {str(folder)!r} is open to other users: `chmod 700` it.")


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold the lock of a folder, and leave no sockets of an earlier supervisor in it."""
    with open(folder / LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise InvalidOption(
                f"Another supervisor uses the socket directory {str(folder)!r}: give each one of its own."
            ) from None
        for left in folder.glob("*.sock"):
            left.unlink(missing_ok=True)
        yield
