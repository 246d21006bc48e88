"""A pytest plugin: notes what starts and how it ends, a JSON line each, as it happens.

What a pytest that died leaves behind is therefore the test that killed it, and the outcome of those before. Tests
that have an outcome in the file already are deselected.
"""

from __future__ import annotations

import fnmatch
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from .record import outcomes

RECORD = Path(os.environ["PLOTLY_SUITE_RECORD"])
EXCLUDED: list[str] = json.loads(os.environ.get("PLOTLY_SUITE_EXCLUDED", "[]"))
ONLY: list[str] | None = json.loads(os.environ.get("PLOTLY_SUITE_ONLY", "null"))

_reports: dict[str, dict[str, Any]] = {}


def _note(**line: Any) -> None:
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    from dash.testing.application_runners import BaseDashRunner

    runner: Any = BaseDashRunner  # Its ports have no public name.
    runner._next_port = int(os.environ.get("PLOTLY_SUITE_PORT", "58050"))


def pytest_setup_options() -> Any:
    """Hook of Dash's own plugin: the options of the browser."""
    from selenium.webdriver.chrome.options import Options

    options: Any = Options()
    for argument in ("--headless=new", "--window-size=1280,1024", "--no-first-run", "--disable-background-networking"):
        options.add_argument(argument)
    return options


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    done = {line["test"] for line in outcomes(RECORD) if "outcome" in line}
    kept: list[pytest.Item] = []
    for item in items:
        name = item.nodeid
        if name in done or (ONLY is not None and name not in ONLY):
            continue
        if any(fnmatch.fnmatch(name, pattern) or name.startswith(pattern) for pattern in EXCLUDED):
            _note(test=name, outcome="excluded")
            continue
        kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _note(test=report.nodeid, outcome="failed", why=str(report.longrepr)[-2_000:], seconds=0)


def pytest_runtest_logstart(nodeid: str) -> None:
    _reports[nodeid] = {"test": nodeid, "outcome": "passed", "began": time.time()}
    _note(test=nodeid, started=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    noted = _reports.setdefault(report.nodeid, {"test": report.nodeid, "outcome": "passed", "began": time.time()})
    outcome: Any = report.outcome  # pytest-rerunfailures has one more.
    if outcome == "rerun":
        noted["flaky"] = str(report.longrepr)[-2_000:]
        noted["outcome"] = "passed"
    elif report.failed:
        noted["outcome"] = "failed"
        noted["why"] = (noted.get("why", "") + f"\n[{report.when}]\n" + str(report.longrepr)[-3_000:]).strip()
    elif report.skipped and noted["outcome"] == "passed":
        noted["outcome"] = "skipped"
        noted["why"] = str(report.longrepr)[-500:]


def pytest_runtest_logfinish(nodeid: str) -> None:
    noted = _reports.pop(nodeid, None)
    if noted is not None:
        noted["seconds"] = round(time.time() - noted.pop("began"), 1)
        _note(**noted)
