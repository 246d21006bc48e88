"""The documentation site is built without a warning, leads everywhere, and is searched where it is read.

Sphinx checks that links between pages, and to headings in them, lead somewhere. Tests need no internet: of links to
other sites they check the form.
"""

from __future__ import annotations

import functools
import html
import http.server
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import dash
import pytest
from playwright.sync_api import BrowserContext, expect

import flash
import flash.errors
from tests.support.browser import chromium as chromium, context as context, serving as serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COLUMNS = 90
"""What the theme shows of a line of code on a laptop without scrolling."""

FILES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    make = (ROOT / "Makefile").read_text()
    options = re.search(r"-m sphinx (.*) docs build/docs$", make, re.MULTILINE)
    assert options is not None
    command = [sys.executable, "-m", "sphinx", *options[1].split(), "docs", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The address at which the site is served."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Requests are of no interest."""

    handler = functools.partial(Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_site_has_every_page(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert pages <= {page.relative_to(site) for page in site.rglob("*.html")}


def test_lines_of_code_are_no_wider_than_the_page(site: Path) -> None:
    too_wide: list[str] = []
    for page in site.rglob("*.html"):
        for block in re.findall(r'<div class="highlight"><pre>(.*?)</pre>', page.read_text(), re.DOTALL):
            lines = html.unescape(re.sub(r"<[^>]*>", "", block)).splitlines()
            too_wide += [f"{page.name}: {line}" for line in lines if len(line) > COLUMNS]
    assert too_wide == []


def test_every_exported_name_has_its_docstring_in_the_site(site: Path) -> None:
    own = set(flash.__all__) - set(dash.__all__) | {"Dash", "callback"}
    assert {f"flash.{name}" for name in own} <= _described(site), "docs/api.md lacks a name that flash exports"


def test_every_method_of_the_app_has_its_docstring_in_the_site(site: Path) -> None:
    own = [kind for kind in flash.Flash.__mro__ if kind.__module__.startswith("flash.") and "._" not in kind.__module__]
    methods = {name for kind in own for name, value in vars(kind).items() if callable(value) and name[0] != "_"}
    of_dash = set(dir(dash.Dash)) - {"callback"}
    assert {f"flash.Flash.{name}" for name in methods - of_dash} <= _described(site), "docs/api.md lacks a method"


def test_every_error_has_its_docstring_in_the_site(site: Path) -> None:
    errors = {f"flash.{name}" for name, kind in vars(flash.errors).items() if isinstance(kind, type)}
    assert errors <= _described(site), "docs/api.md lacks an error"


def test_the_site_names_what_is_exported_of_dash() -> None:
    own = {"Dash", "callback", "__version__"}
    section = (DOCS / "api.md").read_text().partition("## From Dash")[2]
    assert set(re.findall(r"`(\w+)`", section)) >= set(dash.__all__) - own


def test_the_contents_come_in_the_order_in_which_readers_need_them() -> None:
    captions = re.findall(r"^:caption: (.*)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert captions == ["Tutorial", "How to", "Reference", "Explanation", "For whoever changes Flash"]


def test_searching_finds_pages(address: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(address)
    page.get_by_placeholder("Search").fill("reconnect_grace")
    page.keyboard.press("Enter")
    results = page.locator("#search-results")
    expect(results.get_by_role("link", name="Options", exact=True)).to_be_visible()
    results.get_by_role("link", name="Options", exact=True).click()
    expect(page.get_by_role("heading", name="Options")).to_be_visible()


def test_a_page_of_the_site_needs_no_other_site(address: str, context: BrowserContext) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.new_page().goto(address, wait_until="networkidle")
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_links_to_other_sites_are_well_formed_in(path: Path) -> None:
    for link in re.findall(r"\]\((\w+:[^)]*)\)", path.read_text()):
        assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+(/[\w./#~%+-]*)?", link), link


def _described(site: Path) -> set[str]:
    """The Python names that the site's inventory has."""
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines() if " py:" in line}
