"""Where the suite runs: a copy of the checkout's tests, and a virtual environment of its own.

The copy has no `dash` package, or the tests would import that one, which was never built.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

COMPONENTS = (
    "dash-test-components",
    "dash-generator-test-component-nested",
    "dash-generator-test-component-standard",
    "dash-generator-test-component-typescript",
)
"""Packages of the checkout that its tests import. npm builds them."""


@dataclass(frozen=True)
class Environment:
    """Paths of a prepared cache folder."""

    cache: Path

    @property
    def python(self) -> Path:
        return self.cache / "venv" / "bin" / "python"

    @property
    def work(self) -> Path:
        """The current directory of pytest, and first on its path."""
        return self.cache / "work"

    @property
    def results(self) -> Path:
        return self.cache / "results"

    def variables(self, **more: str) -> dict[str, str]:
        """What the processes of the suite see."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DASH_", "PYTEST_"))}
        return {
            **inherited,
            "PATH": f"{self.python.parent}{os.pathsep}{inherited.get('PATH', '')}",
            "PYTHONPATH": str(self.work),
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }


def prepare(checkout: Path, cache: Path) -> Environment:
    """Make, or bring up to date, what the suite needs."""
    environment = Environment(cache.resolve())
    environment.results.mkdir(parents=True, exist_ok=True)
    _copy(checkout, environment)
    _install(environment)
    for name in COMPONENTS:
        _build(checkout / "@plotly" / name, environment)
    return environment


def _copy(checkout: Path, environment: Environment) -> None:
    work = environment.work
    work.mkdir(parents=True, exist_ok=True)
    shutil.copytree(checkout / "tests", work / "tests", copy_function=_copy_if_changed, dirs_exist_ok=True)
    _copy_if_changed(checkout / "pytest.ini", work / "pytest.ini")
    _copy_if_changed(HERE / "sitecustomize.py", work / "sitecustomize.py")
    for name, target in (("flash", ROOT / "flash"), ("plotly_suite", HERE)):
        link = work / name
        if link.resolve() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _copy_if_changed(source: str | Path, target: str | Path) -> str | Path:
    """The suite may be running from the copy."""
    if not Path(target).exists() or Path(target).read_bytes() != Path(source).read_bytes():
        shutil.copy2(source, target)
    return target


def _install(environment: Environment) -> None:
    requirements = HERE / "requirements.txt"
    stamp = environment.cache / "venv" / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    if not environment.python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment.cache / "venv"], check=True)
    install = [environment.python, "-m", "pip", "install", "--quiet", "-r", requirements]
    subprocess.run(install, check=True)
    stamp.write_text(digest)


def _build(source: Path, environment: Environment) -> None:
    """Build and install a package of test components. Without it, the tests that import it fail on both sides."""
    stamp = environment.cache / "venv" / f"{source.name}.built"
    if stamp.exists():
        return
    commands = (
        ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        ["npm", "run", "build"],
        [str(environment.python), "-m", "pip", "install", "--quiet", "."],
    )
    for command in commands:
        outcome = subprocess.run(command, cwd=source, env=environment.variables(), check=False)
        if outcome.returncode:
            print(f"{source.name} could not be built: {' '.join(command)} failed")
            return
    stamp.touch()
