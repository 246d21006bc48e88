"""The Python examples of the README and of docs/, as the apps that they make."""

from __future__ import annotations

import re
import types
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """What a page is called: its path in docs/."""
    return str(path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT))


def blocks_of(path: Path) -> list[str]:
    """The Python blocks of a page."""
    return BLOCK.findall(path.read_text())


def run_examples(path: Path) -> types.ModuleType:
    """The module that the blocks of a page make. They build on each other, as a reader would type them."""
    module = types.ModuleType("example")
    for block in blocks_of(path):
        exec(compile(block, path.name, "exec"), module.__dict__)
    return module
