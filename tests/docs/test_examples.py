"""Every Python example of the README and of docs/ runs, and makes an app that can be served."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import dash
import pytest

import flash
from flash import Flash, hooks
from flash.command_line import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return str(path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT))


@pytest.mark.parametrize("path", [path for path in PAGES if BLOCK.search(path.read_text())], ids=_name)
async def test_the_examples_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page build on each other, as a reader would type them."""
    # What they register with `hooks` would be asked in every app of the process.
    registry: Any = hooks
    monkeypatch.setattr(registry, "_ns", {name: list(entries) for name, entries in registry._ns.items()})
    module = types.ModuleType("example")
    for block in BLOCK.findall(path.read_text()):
        exec(compile(block, path.name, "exec"), module.__dict__)
    app: Any = module.__dict__["app"]
    assert isinstance(app, Flash)
    if app.layout is None:
        app.layout = []
    async with app.server.test_app() as served:
        client = served.test_client()
        for route in ("/", "/_dash-layout", "/_dash-dependencies"):
            response = await client.get(route)
            assert response.status_code == 200, route


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_the_links_of(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("name", sorted(set(flash.__all__) - set(dash.__all__)))
def test_the_reference_has_an_entry_for(name: str) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    assert re.search(rf"^(### `{name}`$|\| `{name}` \|)", reference, re.MULTILINE)


@pytest.mark.parametrize("page", ["deployment.md", "machines.md"])
def test_every_option_of_the_command_that_is_named_exists(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    there = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    of_others = {"--bind", "--from-literal", "--no-cache-dir", "--save", "--scale"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (ROOT / "docs" / page).read_text()))
    assert named - of_others <= there
