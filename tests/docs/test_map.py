"""What the maintainers' documents say of files: each that is named exists, and each module of Flash is listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MAINTAINERS = [ROOT / "CONTRIBUTING.md", ARCHITECTURE]
PATH = re.compile(r"`((?:flash|tests|tools|docs|benchmarks|examples|\.ci)/[\w./-]+)`")


@pytest.mark.parametrize("path", MAINTAINERS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    named = set(PATH.findall(path.read_text()))
    assert named
    gone = sorted(name for name in named if not (ROOT / name).exists())
    assert not gone, f"{path.name} names files that are not there: correct it"


@pytest.mark.parametrize("path", MAINTAINERS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(path: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), target
        assert not heading or heading in _headings(file), f"{target}#{heading}"


def test_the_rooms_list_every_module_and_script_and_nothing_else() -> None:
    there = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "flash").rglob("*")
        if file.suffix in {".py", ".js", ".lua"} and file.name != "__init__.py"
    }
    listed = _listed()
    assert set(listed) == there, "docs/architecture.md, 'The rooms', has a line for each file, and for no other"
    assert len(listed) == len(there), "docs/architecture.md, 'The rooms', has two lines for one file"


def test_the_layers_are_those_that_the_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = [layer.split(" | ") for contract in contracts for layer in contract.get("layers", ())]
    block = re.search(r"^### The layers\n(?:.*\n)*?\n((?: {4}.*\n)+)", ARCHITECTURE.read_text(), re.MULTILINE)
    assert block is not None
    assert [layer.split(", ") for layer in " ".join(block[1].split()).split(" → ")] == held, (
        "docs/architecture.md, 'The layers', differs from pyproject.toml"
    )


def test_every_line_of_the_rooms_has_a_sentence() -> None:
    for line in _rooms():
        assert re.fullmatch(r" {2,4}\S+ {2,}\S.*", line), line


def _rooms() -> list[str]:
    block = re.search(r"^```\nflash/\n(.*?)^```$", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    # A line without a name goes on with the sentence above it.
    return [line for line in block[1].splitlines() if not line.startswith(" " * 20)]


def _listed() -> list[str]:
    """The files that have a line, by their paths in the repository."""
    room = ""
    files: list[str] = []
    for line in _rooms():
        name = line.split()[0]
        if not line.startswith("    "):
            room = ""
        if name.endswith("/"):
            room = name
        else:
            files.append(f"flash/{room}{name}")
    return files


def _headings(file: Path) -> set[str]:
    """The anchors that a page's headings have where Markdown is shown."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
