"""Processes of a test: started in a session of their own, waited for by what they say, ended with those they start.

    with python(tmp_path, "-m", "flash", "run", "served:app", "--port", "0") as process:
        port = process.wait_for_port()
        process.send(signal.SIGTERM)
        assert process.wait() == 0

What a process has written is printed when it is over, so that pytest shows it with a test that fails.
"""

from __future__ import annotations

import compileall
import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import flash
from tests.support.connections import free_port
from tests.support.eventually import TIMEOUT, eventually, eventually_sync

UNCLOSED_SOCKET = "ignore:unclosed <socket.socket:ResourceWarning"
"""The warning that a Python process may give that cannot listen: Hypercorn does not close the socket which it made."""

URLLIB3 = "ignore:'urllib3[secure]' extra is deprecated:DeprecationWarning"
"""The warning of the urllib3 that selenium holds here: Dash imports it where Jupyter is installed."""

ROOT = Path(flash.__file__).parents[1]
"""The folder from which `flash` is imported here, and is to be in the processes of the tests."""


@functools.cache
def compile_package() -> None:
    """Compile the modules of `flash` once for all processes, should Python have been told to keep no bytecode.

    Else each of them does, which takes a third of the CPU time that a server takes to start.
    """
    compileall.compile_dir(ROOT / "flash", quiet=1)


class Process:
    """A process of a test.

    Attributes:
        pid: its number, which is that of its session, too.
        folder: in which it runs.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, output: Path) -> None:
        self.pid = process.pid
        self.folder = folder
        self._process = process
        self._output = output

    @property
    def output(self) -> str:
        """What it has written to its outputs."""
        return self._output.read_text(errors="replace")

    @property
    def log(self) -> list[str]:
        """The lines of the file `log` in its folder, where an app may note what happens."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def ports(self) -> list[int]:
        """The ports at which it has said that it listens, the last one last."""
        said = re.findall(r"Running on https?://127\.0\.0\.\d+:(\d+) ", self.output)
        return list(dict.fromkeys(int(port) for port in said))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.ports[-1]

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Return when `condition()` is true; fail if the process ends before that."""
        eventually_sync(lambda: condition() or not self.runs, lambda: f"{what}; the process says {self.output}")
        assert condition(), f"the process has ended with {self.wait()}, and not: {what}\n{self.output}"

    def wait_for_port(self) -> int:
        """Where it listens; fails if it ends without listening."""
        self.wait_for(lambda: self.ports, "it says where it listens")
        return self.port

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """The exit status, when the process has ended."""
        return self._process.wait(timeout)

    async def status(self, timeout: float = TIMEOUT) -> int:
        """The same, in a test on Trio."""
        await eventually(lambda: not self.runs, "the process has ended", timeout)
        return self._process.returncode


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Generator[Process]:
    """A process while the block runs; whatever is left then of it, and of those that it has started, is killed.

    Args:
        command: the program and its arguments.
        folder: in which it runs.
        environment: variables beside those of this process.
    """
    compile_package()
    with tempfile.NamedTemporaryFile(prefix="output-") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started = Process(process, folder, Path(file.name))
        try:
            yield started
        finally:
            # Those that it has started, such as the workers of a server, are in the session that was made for it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"{' '.join(command)} has written:\n{started.output}")


@contextlib.contextmanager
def python(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    modules: Path | None = None,
    ignored: str = "",
) -> Generator[Process]:
    """A Python process in which every warning is an error, and which is to have none.

    Args:
        folder: in which it runs.
        arguments: of Python.
        environment: variables beside those of this process.
        modules: another folder to import from.
        ignored: a warning that is none, as in PYTHONWARNINGS.
    """
    path = [str(ROOT)] if modules is None else [str(ROOT), str(modules)]
    variables = {
        "PYTHONPATH": os.pathsep.join(path),
        # Where `app.run(port=0)` listens: for Dash a port of 0 is none.
        "PORT": str(free_port()),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(filter(None, ("error", URLLIB3, ignored))),
    }
    with running([sys.executable, *arguments], folder, variables | dict(environment or {})) as process:
        yield process
        # One that cannot be raised, as in a finalizer, is printed.
        warned = re.findall(r".*\b[A-Z]\w*Warning: .*", process.output)
        assert not warned, f"the process has warned: {warned}"
