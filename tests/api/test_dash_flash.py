"""`dash-flash`, which has a package of the same name, installed beside Flash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def imported(folder: Path, code: str = "import flash") -> subprocess.CompletedProcess[str]:
    """A process that has imported Flash, with the distributions in this folder installed as well."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()])}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def install(folder: Path, name: str) -> None:
    information = folder / f"{name}-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\n")


def test_the_import_warns_once_and_says_what_to_do(tmp_path: Path) -> None:
    install(tmp_path, "dash_flash")
    process = imported(tmp_path, "import flash\nimport flash.app\nprint(flash.Flash.__name__)")
    assert process.returncode == 0
    assert process.stdout == "Flash\n"
    assert process.stderr.count("UserWarning") == 1
    assert process.stderr.startswith("<string>:1: UserWarning: dash-flash is installed, too")
    assert "`pip uninstall dash-flash`, then `pip install --force-reinstall --no-deps flash-trio`" in process.stderr


def test_without_it_there_is_no_warning(tmp_path: Path) -> None:
    install(tmp_path, "dash_flash_tools")
    process = imported(tmp_path, "import warnings\nwarnings.simplefilter('error', UserWarning)\nimport flash")
    assert (process.returncode, process.stderr) == (0, "")
