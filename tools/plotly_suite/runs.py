"""Running a folder of the suite under pytest, until every test of it has an outcome."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import Environment
from .record import outcomes

TEST_TIMEOUT = 90
"""Seconds that a test may take before pytest-timeout fails it."""

SILENCE = 300
"""Seconds without a new line in the record, after which pytest itself is taken to hang, and is ended."""

OPTIONS = (
    *("-p", "plotly_suite.recorder", "-p", "no:cacheprovider", "--quiet", "--tb=short"),
    *("--continue-on-collection-errors", "--reruns=1", f"--timeout={TEST_TIMEOUT}", "--timeout-method=signal"),
    *("--headless", "--nopercyfinalize"),
)

ATTEMPTS = 30
"""How often pytest is started for one folder: each start that does not get through costs one test."""


@dataclass(frozen=True)
class Folder:
    """One folder of the plan."""

    name: str
    files: tuple[str, ...] = ()
    baseline: str = "flask"
    port: int = 20_000

    def targets(self, work: Path) -> list[str]:
        folder = work / "tests" / self.name
        if not self.files:
            return [f"tests/{self.name}"]
        return sorted(str(path.relative_to(work)) for pattern in self.files for path in folder.glob(pattern))


@dataclass(frozen=True)
class Run:
    """The tests of a folder with one class in the place of `dash.Dash`."""

    environment: Environment
    folder: Folder
    backend: str
    excluded: tuple[str, ...]
    only: tuple[str, ...] | None = None

    @property
    def record(self) -> Path:
        return self.environment.results / f"{self.backend}.{self.folder.name.replace('/', '.')}.jsonl"

    @property
    def results(self) -> Path:
        return self.record.with_suffix(".json")

    def forget(self, outcomes_to_forget: Iterable[str]) -> None:
        """Have the tests with these outcomes run again."""
        self.results.unlink(missing_ok=True)
        again = set(outcomes_to_forget)
        lines = [line for line in outcomes(self.record) if "outcome" in line and line["outcome"] not in again]
        self.record.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def finish(self) -> dict[str, Any]:
        """The outcomes, by test; what is missing of them is run first."""
        if not self.results.exists():
            for _ in range(ATTEMPTS):
                if self._once():
                    break
                if not self._give_up_on_the_last():
                    raise RuntimeError(f"pytest did not run: see {self.record.with_suffix('.log')}")
            found = {line["test"]: line for line in outcomes(self.record) if "outcome" in line}
            self.results.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
        return json.loads(self.results.read_text(encoding="utf-8"))

    def _once(self) -> bool:
        """Run what has no outcome yet; whether pytest got to the end."""
        variables = self.environment.variables(
            PLOTLY_SUITE_BACKEND=self.backend,
            PLOTLY_SUITE_RECORD=str(self.record),
            PLOTLY_SUITE_EXCLUDED=json.dumps(self.excluded),
            PLOTLY_SUITE_ONLY=json.dumps(self.only),
            PLOTLY_SUITE_PORT=str(self.folder.port),
        )
        if shutil.which("redis-server"):
            variables["REDIS_URL"] = "redis://localhost:6379"
        command = [str(self.environment.python), "-m", "pytest", *OPTIONS, *self.folder.targets(self.environment.work)]
        self.record.touch()
        with self.record.with_suffix(".log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.environment.work, env=variables, stdout=log, stderr=log, start_new_session=True
            )
            try:
                return self._watch(process)
            finally:
                end(process, self.record)

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        while True:
            try:
                # 0: all passed, 1: some failed, 5: none was left to run. Everything else is pytest's own end.
                return process.wait(timeout=5) in (0, 1, 5)
            except subprocess.TimeoutExpired:
                if time.time() - self.record.stat().st_mtime > SILENCE:
                    return False

    def _give_up_on_the_last(self) -> bool:
        """Do not run the test again that ran when pytest died or was ended. Whether there was one."""
        lines = list(outcomes(self.record))
        done = {line["test"] for line in lines if "outcome" in line}
        running = [line["test"] for line in lines if line.get("started") and line["test"] not in done]
        with self.record.open("a", encoding="utf-8") as file:
            for test in running:
                file.write(json.dumps({"test": test, "outcome": "hung", "why": "pytest hung or died in it"}) + "\n")
        return bool(running)


def end(process: subprocess.Popen[bytes], record: Path) -> None:
    """End pytest and what its tests left behind, browsers, servers and workers in process groups of their own included.

    Left alone, a worker of Celery would take the tasks of later tests. The record in its environment tells each.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    mark = f"PLOTLY_SUITE_RECORD={record}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)
