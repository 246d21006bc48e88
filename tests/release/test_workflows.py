"""The workflows run the checks of a checkout on the Pythons that are supported, and publish only after them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["jobs"]


def _steps() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        for job in _jobs(path).values():
            yield from job.get("steps", ())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_bounds_and_may_do_no_more_than_it_needs(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        # What only calls a workflow or an action has no time of its own.
        assert "timeout-minutes" in job or not any("run" in step for step in job.get("steps", ())), name


def test_every_command_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = [step["run"] for step in _steps() if "run" in step]
    assert commands
    for command in commands:
        target = re.match(r"make ([\w-]+)( |$)", command)
        assert target is not None, command
        assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), command
        for variable in re.findall(r" ([A-Z]+)=", command):
            assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), variable


def test_the_checks_run_on_the_pythons_that_the_project_names() -> None:
    jobs = _jobs(ROOT / ".github" / "workflows" / "ci.yml")
    for name in ("test", "release-check"):
        assert jobs[name]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()


def test_the_next_dash_is_the_one_that_a_checkout_is_tested_with() -> None:
    (command,) = [step["run"] for step in _steps() if "DASH=" in step.get("run", "")]
    version = re.search(r"DASH=(\S+)", command)
    assert version is not None
    assert f"make pytest DASH={version[1]} " in (ROOT / ".ci" / "run").read_text()


def test_nothing_is_published_before_every_check_has_passed() -> None:
    jobs = _jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert jobs["checks"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["build"]["needs"] == "checks"
    assert jobs["publish"]["needs"] == "build"
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
