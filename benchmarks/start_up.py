"""How long a server takes to start: the import, and from the command to its first answer.

    python -m benchmarks.start_up [--runs 12] [--warm]

Imports `flash` and `dash` in processes that do nothing else; starts Flash by `flash run`, and Dash on Quart with
Hypercorn's asyncio worker, and asks each for its page until it answers. All in this interpreter's environment, and by
turns: Flash goes first in every other run. The bytecode of all modules is kept in a folder that a first run fills,
which does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator

from benchmarks import harness
from benchmarks.harness import COMMANDS, ROOT, TIMEOUT, Runs, free_port, say
from benchmarks.results import Result

NAME = "start-up"
FLASH, DASH, QUART = "Flash", "Dash", "Dash on Quart"
IMPORT, ANSWER, CPU = "import", "until the first answer", "CPU until the first answer"

IMPORTS = {FLASH: "import flash", DASH: "import dash"}
"""What is imported."""

SERVERS = {
    FLASH: ("flash", "benchmarks.apps.flash_plain:app"),
    QUART: ("hypercorn-asyncio", "benchmarks.apps.dash_plain_quart:server"),
}

ASK_AGAIN = 0.002
"""Seconds between attempts to reach a server."""

SMALL = ["--runs", "1", "--warm"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--warm", action="store_true", help="use the bytecode that there is, and compile none")


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    with tempfile.TemporaryDirectory() as bytecode:
        environment = dict(os.environ)
        if not options.warm:
            environment |= {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
            _once(Runs(), environment, flash_first=True)
        for number in range(options.runs):
            say(f"{NAME}: run {number + 1} of {options.runs}")
            _once(runs, environment, flash_first=number % 2 == 0)
    result, goal = runs.result, "start-up"
    return [
        result(NAME, FLASH, IMPORT, "ms", reference=DASH, at_most=1.15, of_ratio=True, goal=goal),
        result(NAME, FLASH, ANSWER, "ms", reference=QUART, at_most=1.2, of_ratio=True, goal=goal),
        result(NAME, FLASH, CPU, "ms", reference=QUART),
    ]


def _once(runs: Runs, environment: dict[str, str], flash_first: bool) -> None:
    turn = 1 if flash_first else -1
    for subject, code in [*IMPORTS.items()][::turn]:
        # What a process does to end is not the import's.
        timed = f"import time; began = time.monotonic(); {code}; print(time.monotonic() - began)"
        done = subprocess.run(
            [sys.executable, "-c", timed], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        runs.add(subject, **{IMPORT: float(done.stdout) * 1e3})
    for subject, (kind, app) in [*SERVERS.items()][::turn]:
        port = free_port()
        used, began = _cpu_of_children(), time.monotonic()
        with _running([sys.executable, "-m", *COMMANDS[kind](app, str(port))], environment) as process:
            _answer(port, process)
            took = time.monotonic() - began
        runs.add(subject, **{ANSWER: took * 1e3, CPU: (_cpu_of_children() - used) * 1e3})


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answer(port: int, process: subprocess.Popen[bytes]) -> None:
    """Ask for the page until there is an answer."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server has exited with {process.returncode}"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
            return
        time.sleep(ASK_AGAIN)
    raise TimeoutError


def _cpu_of_children() -> float:
    """Seconds of CPU that the processes have used that this one has started, and that are over."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
