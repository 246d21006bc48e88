"""Sphinx builds the documentation site from the pages in this folder: `make docs`.

The pages are Markdown, so that they read as well where the repository is looked at. A file from outside of this folder,
such as CONTRIBUTING.md, has a page of a few words here, and the site shows the file in its place.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import flash  # noqa: E402 - the checkout's own, which the line above puts first

project = "Flash"
author = "The Flash developers"
project_copyright = "The Flash developers"
version = release = flash.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]

html_theme = "furo"
html_title = f"Flash {release}"
html_show_sphinx = False
html_copy_source = False

# Links lead to headings by the anchors that they have where Markdown is shown.
myst_heading_anchors = 4

# Docstrings are written as the rest of the repository is: names of code in single backticks.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
napoleon_use_ivar = True
napoleon_use_rtype = False

# What signatures name and no page describes: types of other packages, type variables, and decorators that wait
# for their function.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(dash|trio|quart|quart_trio|collections|typing|types|enum|datetime)(\..*)?",
    ),
    ("py:.*", r"([A-Za-z_]+\.)*(P|R|R_co|T|CallbackDecorator|FeedDecorator|Ticks)"),
]

SHOWN = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "measurements": "benchmarks/results/README.md",
    "security": "SECURITY.md",
}
"""The pages that show a file from outside of this folder."""

PAGES = {ROOT / file: DOCS / f"{page}.md" for page, file in SHOWN.items()}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def show_files(_app: Any, page: str, source: list[str]) -> None:
    """Put a file in the place of the page that stands for it, and have links to such files lead to their pages."""
    origin = DOCS / f"{page}.md"
    if page in SHOWN:
        origin = ROOT / SHOWN[page]
        source[0] = origin.read_text("utf-8")

    def to_page(link: re.Match[str]) -> str:
        target = (origin.parent / link[1]).resolve()
        return os.path.relpath(PAGES.get(target, target), (DOCS / page).parent)

    source[0] = LINK.sub(to_page, source[0])


def mark_examples(
    _app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Say of an indented block in a docstring that it is code. Sections such as `Args:` have no blank line in front."""
    for index in range(len(lines) - 1, 1, -1):
        above = lines[index - 2]
        if (
            lines[index].startswith(" ")
            and not lines[index - 1]
            and above
            and not above.startswith(" ")
        ):
            lines[index:index] = ["::", ""]


def leave_constructors_out(
    _app: Any, _what: str, name: str, kind: Any, _options: Any, given: str | None, _: Any
) -> Any:
    """Show no signature of classes whose instances only Flash makes, which are all but the app."""
    return (
        ("", "") if isinstance(kind, type) and name != "flash.Flash" and given else None
    )


def setup(app: Any) -> None:
    app.connect("source-read", show_files)
    # Napoleon is called later, with 500.
    app.connect("autodoc-process-docstring", mark_examples, priority=400)
    app.connect("autodoc-process-signature", leave_constructors_out)
    # The states are drawn by Mermaid, where Markdown is shown; here a drawing is text, above its tables.
    app.add_lexer("mermaid", TextLexer)
