"""What every benchmark stands on: servers in processes of their own, what they use, and how a run is reported.

A benchmark starts its server and its references one after the other, each on a free port of the loopback, and drives
them with the same client, in this process. CPU and memory are what the kernel says of the server's process. A figure is
the median of the runs; beside it stands the spread, (largest - smallest) / median.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import interpreter
from benchmarks.results import Result, table

ROOT = Path(__file__).parents[1]

TIMEOUT = 120.0
"""Seconds after which something that was waited for is taken not to happen any more."""

WORKERS_TOLD = 0.3
"""Seconds after which a server that was told to end starts no worker any more in place of one that is gone."""

BACKLOG = "2048"

COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "flash": lambda app, port: _flash(app, port),
    "flash, writes noted": lambda app, port: ["benchmarks.apps.noted_writes", *_flash(app, port)[1:]],
    "flash-2-workers": lambda app, port: [*_flash(app, port), "--workers", "2"],
    "hypercorn-trio": lambda app, port: _hypercorn("trio", app, port),
    "hypercorn-asyncio": lambda app, port: _hypercorn("asyncio", app, port),
    "uvicorn": lambda app, port: [
        "uvicorn", "--backlog", BACKLOG, "--log-level", "error", "--no-access-log", "--port", port, app
    ],
}  # fmt: skip
"""How each kind of server is run: the module, and its arguments for an app and a port."""


def _flash(app: str, port: str) -> list[str]:
    return ["flash", "run", "--backlog", BACKLOG, "--log-level", "error", "--port", port, app]


def _hypercorn(worker: str, app: str, port: str) -> list[str]:
    # No workers: it serves in the process that is started, which is the one that is measured.
    return ["hypercorn", "-w", "0", "-k", worker, "--backlog", BACKLOG, "-b", f"127.0.0.1:{port}", app]


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        port: on 127.0.0.1.
        pid: of its one process, or of the one that has started the others.
    """

    port: int
    pid: int

    def processes(self) -> list[int]:
        """The ids of its processes: `pid`, and its workers, if it has any."""
        found = [self.pid]
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            # A thread may end while it is looked at; one that has started a worker does not.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
        return found

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used, all threads, to the nanosecond."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.processes())

    def memory(self) -> int:
        """Bytes of memory that are its own."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        private = [line.split()[1] for line in rollup.splitlines() if line.startswith("Private_")]
        return 1024 * sum(map(int, private))


@contextlib.contextmanager
def serve(
    kind: str, app: str, environment: str | None = None, folder: Path = ROOT, certificate: Path | None = None
) -> Generator[Server]:
    """Run a server of `app` while the block runs.

    Args:
        kind: one of COMMANDS.
        app: as `module:attribute`.
        environment: the name of a requirements file for it; None for this interpreter's.
        folder: in which it runs, and from which it imports `flash`.
        certificate: a file with a certificate and its key; None for a server without TLS.
    """
    # The pages' sockets are on both sides.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = free_port()
    command = [interpreter(environment), "-m", *COMMANDS[kind](app, str(port))]
    if certificate is not None:
        command += ["--certfile", str(certificate), "--keyfile", str(certificate)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)

        def check() -> None:
            if process.poll() is not None:
                output.seek(0)
                raise RuntimeError(f"the server of {app} is gone:\n{output.read()[-4000:]}")

        try:
            _wait_for(port, check)
            yield Server(port, process.pid)
            check()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server, and lose no time with its streams, which may be thousands."""
    workers: list[int] = []
    # It may be gone.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        workers = Server(0, process.pid).processes()[1:]
    if workers:
        # The process that has started them removes their sockets.
        process.terminate()
        time.sleep(WORKERS_TOLD)
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not workers:
        process.kill()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            check()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


class Runs:
    """The figures of several runs, by what was measured and which figure of it.

    runs.add("Flash", rate=110_000, cpu=8.1)
    runs.median("Flash", "rate")
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}

    def add(self, subject: str, **figures: float) -> None:
        for figure, value in figures.items():
            self._values.setdefault((subject, figure), []).append(value)

    def __contains__(self, subject: str) -> bool:
        return any(of == subject for of, _ in self._values)

    def median(self, subject: str, figure: str) -> float:
        return median(self._values[subject, figure])

    def result(
        self,
        name: str,
        subject: str,
        figure: str,
        unit: str,
        *,
        reference: str | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        of_ratio: bool = False,
        goal: str = "",
    ) -> Result:
        """The median of a figure, beside that of a reference, if there is one, and a target.

        Args:
            name: of the benchmark.
            subject: what was measured.
            figure: which figure of it.
            unit: of the figure.
            reference: what it is compared with.
            at_least: the target, if more is better.
            at_most: the target, if less is better.
            of_ratio: the target is for the ratio, not for the figure itself.
            goal: one of GOALS, if the target is one of that.
        """
        values = self._values[subject, figure]
        compared = reference is not None and (reference, figure) in self._values
        return Result(
            name=name,
            subject=subject,
            metric=figure,
            unit=unit,
            value=median(values),
            spread=spread(values),
            runs=len(values),
            reference=reference if compared else None,
            reference_value=self.median(reference, figure) if compared and reference is not None else None,
            at_least=at_least,
            at_most=at_most,
            of_ratio=of_ratio,
            goal=goal,
        )


def add_no_dash(parser: argparse.ArgumentParser) -> None:
    """An option: without what has to be installed first."""
    parser.add_argument("--no-dash", action="store_true", help="without references that must be installed")


def main(
    doc: str | None,
    add_options: Callable[[argparse.ArgumentParser], None],
    measure: Callable[[argparse.Namespace], list[Result]],
    arguments: Sequence[str] | None = None,
) -> list[Result]:
    """Run one benchmark from the command line, and print what it found."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    found = measure(parser.parse_args(arguments))
    print(table(found))
    return found


def say(text: str) -> None:
    """What is going on, for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)
