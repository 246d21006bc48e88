"""What a release consists of, built from the checkout: the wheel is `flash/` and no more, and says what it is."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import flash
from flash.page_scripts import BUILT, CODINGS

ROOT = Path(__file__).parents[2]
FLASH = ROOT / "flash"
NAME = f"flash_trio-{flash.__version__}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and with the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", "--outdir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_every_file_of_the_package_and_no_other(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    package = {
        str(path.relative_to(ROOT))
        for path in FLASH.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    made = {f"flash/client/{BUILT}{suffix}" for suffix in ("", *CODINGS.values())}
    assert names - made == package
    assert {"flash/py.typed", "flash/client/link.js", "flash/workers/redis_claims.lua"} <= names


def test_the_wheel_says_what_it_is(built: Path) -> None:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        metadata = email.message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))
        scripts = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
        assert f"{NAME}.dist-info/licenses/LICENSE" in wheel.namelist()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == flash.__version__
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert "flash = flash.command_line:main" in scripts


def test_the_sdist_has_what_its_tests_and_documents_need_and_nothing_that_was_made(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        paths = [Path(name).relative_to(NAME) for name in sdist.getnames()]
    tops = {path.parts[0] for path in paths}
    assert tops >= {
        "flash",
        "tests",
        "docs",
        "tools",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "Makefile",
    }
    assert not [path for path in paths if {"node_modules", "build", "dist", "__pycache__"} & set(path.parts)]
    assert not [top for top in tops if top.startswith(".venv")]


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == FLASH / "__init__.py"


def test_the_changelog_begins_with_the_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == flash.__version__


def test_the_page_on_versions_says_what_the_metadata_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "versions.md").read_text()
    rows = dict(re.findall(r"^\| (\S+) \| (.*) \|$", page, re.MULTILINE))
    pythons = [name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r"Python :: 3\.\d", name)]
    assert rows["Python"].startswith(", ".join(pythons))
    assert f">={pythons[0]}" == project["requires-python"]
    for name in ("Dash", "Trio", "Quart-Trio", "Hypercorn"):
        (bound,) = [one for one in project["dependencies"] if re.match(rf"{name.lower()}[><]", one)]
        lowest = re.search(r">=([\d.]+)", bound)
        assert lowest is not None
        assert lowest[1] in rows[name]
