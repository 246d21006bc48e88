"""The tool that runs Plotly's own tests: what it makes of outcomes, and how it puts Flash in the place of Dash."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flash import Flash, html
from flash.server.backend import FlashServer
from tools.plotly_suite.environment import HERE, ROOT
from tools.plotly_suite.flask_face import Client, Context
from tools.plotly_suite.record import outcomes
from tools.plotly_suite.runs import end
from tools.plotly_suite.table import Row, render

PASSED, FAILED = {"outcome": "passed"}, {"outcome": "failed"}


def test_the_table_tells_what_passed_there_and_not_here_with_its_reason() -> None:
    before = {"tests/a.py::x": PASSED, "tests/a.py::y": PASSED, "tests/a.py::z": FAILED, "tests/a.py::gone": PASSED}
    after = {"tests/a.py::x": PASSED, "tests/a.py::y": {"outcome": "hung"}}
    table = render([Row("unit", "flask", before, after)], {"a.py": "a file", "a.py::y": "a test"}, {"b.py": "slow"})
    assert "| `unit` | Dash on Flask | 3 | 1 | 0 | 0 | 1 | 2 |" in table
    assert "| all | | **3** | **1** | **0** | **0** | **1** | **2** |" in table
    assert "- `a.py::y`: a test" in table
    assert "- `a.py::gone`: a file" in table
    assert "::x`" not in table
    assert "- `b.py`: slow" in table


def test_a_folder_that_was_not_run_with_flash_is_said_to_be_so() -> None:
    assert "| 1 | 0 | 0 | 0 | not run | not run |" in render(
        [Row("unit", "quart", {"tests/a.py::x": PASSED}, None)], {}, {}
    )


def test_a_difference_without_a_reason_stands_out() -> None:
    assert "**no reason known**" in render([Row("unit", "flask", {"tests/a.py::x": PASSED}, {})], {"b.py": "other"}, {})


def test_a_line_of_the_record_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text('{"test": "x", "outcome": "passed"}\n{"test": "y", "outc')
    assert list(outcomes(record)) == [{"test": "x", "outcome": "passed"}]


@pytest.mark.parametrize("kind", ["excluded", "differs"])
def test_whatever_the_plan_leaves_out_has_a_reason(kind: str) -> None:
    plan = tomllib.loads((HERE / "plan.toml").read_text())
    assert plan[kind]
    assert all(entry["reason"] and not entry["test"].startswith("tests/") for entry in plan[kind])


@pytest.mark.parametrize(("backend", "module"), [("flask", "dash.dash"), ("flash", "flash.app")])
def test_every_process_of_the_suite_imports_what_is_under_test(tmp_path: Path, backend: str, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text((HERE / "sitecustomize.py").read_text())
    (tmp_path / "flash").symlink_to(ROOT / "flash")
    (tmp_path / "plotly_suite").symlink_to(HERE)
    code = "import dash; app = dash.Dash('app', backend='flask'); print(type(app).layout.fget.__module__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PLOTLY_SUITE_BACKEND": backend}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == module


def test_a_test_written_for_flask_may_ask_without_await() -> None:
    app = Flash(__name__, health_endpoint="health")
    app.layout = html.Div()
    client = Client(app.server, lambda: FlashServer.test_client(app.server))
    assert (client.get("/health").status_code, client.get("/health").data) == (200, b"OK")
    assert client.post("/health").status_code == 405


def test_a_test_written_for_flask_may_enter_a_request_context_plainly() -> None:
    from quart import request

    app = Flash(__name__)
    with Context(app.server.test_request_context("/path")):
        assert request.path == "/path"


def test_what_the_tests_leave_behind_is_ended_though_it_left_their_process_group(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    leave = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'print(1, flush=True); input()'], "
    leave += "stdin=sys.stdin, start_new_session=True)"
    pytest_process = subprocess.Popen(
        [sys.executable, "-c", leave],
        env={**os.environ, "PLOTLY_SUITE_RECORD": str(record)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert pytest_process.stdout is not None
    assert pytest_process.stdin is not None
    assert pytest_process.stdout.readline() == b"1\n"
    end(pytest_process, record)
    # The pipe is at its end when nobody holds it any more.
    assert pytest_process.stdout.read() == b""
    pytest_process.stdin.close()
    pytest_process.stdout.close()
