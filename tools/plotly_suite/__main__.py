"""python -m tools.plotly_suite --checkout /path/to/dash

Run Plotly's tests with Dash and with Flash, and print what differs. Folders that are finished are not run again:
`--again` runs them anew, `--again flash` with Flash alone, `--again failed` what failed, on both sides: a busy machine
fails tests.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from .environment import HERE, ROOT, Environment, prepare
from .runs import Folder, Run
from .table import FAILED, Row, render

BASELINES = ("flask", "quart")
PORTS = 20_000
PORTS_EACH = 1_000
"""Where the ports of the first folder begin, and how many each has: several may run at a time."""

REDIS_PORT = 6379
"""Written into the tests."""


def main(arguments: list[str]) -> int:
    """Whether every test that passes with Dash passes with Flash, or has a reason in the plan."""
    options = _parse(arguments)
    plan = tomllib.loads((HERE / "plan.toml").read_text(encoding="utf-8"))
    folders = [
        Folder(
            entry["name"], tuple(entry.get("files", ())), entry.get("baseline", "flask"), PORTS + PORTS_EACH * number
        )
        for number, entry in enumerate(plan["folder"])
        if options.only is None or entry["name"] in options.only
    ]
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    environment = prepare(options.checkout, options.cache)
    not_run = {entry["test"]: entry["reason"] for entry in plan["excluded"]}
    excluded = tuple(f"tests/{test}" for test in not_run)
    with _redis(environment):

        def row(folder: Folder) -> Row:
            return _row(environment, folder, excluded, options)

        if options.jobs == 1:
            # In the main thread, where signals end what runs.
            rows = [row(folder) for folder in folders]
        else:
            with ThreadPoolExecutor(options.jobs) as pool:
                rows = list(pool.map(row, folders))
    reasons = {entry["test"]: entry["reason"] for entry in plan["differs"]}
    sys.stdout.write(render(rows, reasons, not_run) + "\n")
    unexplained = [test for row in rows for test in row.differing if not _explained(test, reasons)]
    return 1 if unexplained else 0


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tools.plotly_suite", description=__doc__)
    parser.add_argument("--checkout", type=Path, required=True, help="a checkout of plotly/dash")
    parser.add_argument("--cache", type=Path, default=ROOT / ".plotly-suite", help="where everything is kept")
    parser.add_argument("--only", action="append", help="a folder of the plan; may be repeated")
    parser.add_argument("--backends", default="flask,flash", help="flask for the baseline alone, or flask,flash")
    parser.add_argument("--jobs", type=int, default=1, help="folders that run at a time")
    parser.add_argument(
        "--again", nargs="?", const="all", choices=("all", "failed", "flash"), help="run anew what is finished"
    )
    return parser.parse_args(arguments)


def _row(environment: Environment, folder: Folder, excluded: tuple[str, ...], options: Any) -> Row:
    backends: list[str] = options.backends.split(",")
    baseline = Run(environment, folder, folder.baseline, excluded)
    forgotten = FAILED if options.again == "failed" else ("passed", "skipped", "excluded", *FAILED)
    if options.again in ("all", "failed"):
        baseline.forget(forgotten)
    before = baseline.finish()
    after = None
    if "flash" in backends:
        passed = tuple(test for test, noted in before.items() if noted["outcome"] == "passed")
        run = Run(environment, folder, "flash", (), only=passed)
        if options.again:
            run.forget(forgotten)
        after = run.finish()
    row = Row(folder.name, folder.baseline, before, after)
    with_flash = "" if after is None else f", {len(row.differing)} of them do not with Flash"
    sys.stderr.write(f"{folder.name}: {row.count(before, 'passed')} passed{with_flash}\n")
    return row


def _explained(test: str, reasons: dict[str, str]) -> bool:
    return any(test.removeprefix("tests/").startswith(prefix) for prefix in reasons)


@contextmanager
def _redis(environment: Environment) -> Generator[None]:
    """A Redis for the tests of Celery, unless there is one, or none can be had."""
    with socket.socket() as probe:
        running = probe.connect_ex(("127.0.0.1", REDIS_PORT)) == 0
    server = which("redis-server")
    if running or server is None:
        yield
        return
    command = [server, "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=environment.cache, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
