"""Starts the program again when its code changes: `app.run(debug=True)`.

The process that the user started becomes the reloader. It runs the same command as a second process, which serves, with
WERKZEUG_RUN_MAIN in its environment (the name that Dash and its users look for). When a file changes, the reloader
stops that process, as Ctrl-C does, and starts it again; also one that a mistake in the code has ended. The pages
notice by Dash's reload hash.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import shlex
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path

import watchfiles

from .shutdown import RELOADED

_log = logging.getLogger("flash.server")

_SERVING = "WERKZEUG_RUN_MAIN"
_IMPORTING_PROCESS = os.getpid()


def can_reload() -> bool:
    """Whether this process was started by a command that can be run again, and not by a reloader."""
    return os.environ.get(_SERVING) != "true" and can_run_again()


def can_run_again() -> bool:
    """Whether this process was started by a command, `same_command()`, that does the same when it is run again."""
    main = sys.modules.get("__main__")
    return (
        threading.current_thread() is threading.main_thread()
        and getattr(main, "__file__", None) is not None
        and not hasattr(sys, "ps1")
        # A fork, such as a test's, is another program than its command says.
        and os.getpid() == _IMPORTING_PROCESS
    )


def same_command() -> list[str]:
    """The command that has started this process."""
    return [sys.executable, *sys.orig_argv[1:]]


def reload_on_changes(extra_files: Iterable[str], exclude_patterns: Iterable[str], timeout: float) -> None:
    """Run the command of this process, and run it again at each change of its code. Does not return.

    Args:
        extra_files: files that count as code.
        exclude_patterns: patterns of `fnmatch` for paths that do not count as code.
        timeout: seconds that the process has to stop.
    """
    extra = {os.path.abspath(path) for path in extra_files}
    os.environ[_SERVING] = os.environ[RELOADED] = "true"
    watchfiles.run_process(
        *_folders(extra),
        target=shlex.join(same_command()),
        target_type="command",
        watch_filter=CodeFilter(extra, exclude_patterns),
        callback=_announce,
        sigint_timeout=int(timeout) + 1,
        ignore_permission_denied=True,
    )
    sys.exit(0)


class CodeFilter(watchfiles.PythonFilter):
    """Selects the files that count as code: those of Python, and the extra ones."""

    def __init__(self, extra_files: Iterable[str], exclude_patterns: Iterable[str]) -> None:
        super().__init__()
        self._extra = frozenset(extra_files)
        self._excluded = tuple(exclude_patterns)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        if any(fnmatch.fnmatch(path, pattern) for pattern in self._excluded):
            return False
        return path in self._extra or super().__call__(change, path)


def _folders(extra_files: Iterable[str]) -> list[Path]:
    """The folders to watch: those of the program and of extra files, without those of installed modules."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    code = {Path(file).resolve().parent for file in files if file is not None}
    folders = {folder for folder in code if not any(folder.is_relative_to(place) for place in installed)}
    folders |= {Path(file).parent for file in extra_files}
    return [
        folder
        for folder in sorted(folders)
        if folder.is_dir() and not any(folder != other and folder.is_relative_to(other) for other in folders)
    ]


def _announce(changes: set[tuple[watchfiles.Change, str]]) -> None:
    _log.warning("Starting again: %s changed.", ", ".join(sorted({os.path.relpath(path) for _, path in changes})))
