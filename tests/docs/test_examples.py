"""Every Python example of the README and of docs/ runs, and makes an app that can be served."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction, signature
from pathlib import Path
from typing import Any

import dash
import pytest
import trio
from trio.testing import MockClock

import flash
from flash import Flash, hooks
from flash.command_line import main
from tests.support.doc_examples import DOCS, PAGES, ROOT, blocks_of, name_of, run_examples

GUARDED = [DOCS / "how-to" / "log-out.md"]
"""The pages whose apps let in whom they know. A test in Chromium logs in there."""


@pytest.mark.parametrize("path", [path for path in PAGES if blocks_of(path)], ids=name_of)
async def test_the_examples_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They make an app that is served, and the tests among them pass."""
    # What they register with `hooks` would be asked in every app of the process.
    registry: Any = hooks
    monkeypatch.setattr(registry, "_ns", {name: list(entries) for name, entries in registry._ns.items()})
    module = run_examples(path)
    app: Any = module.__dict__["app"]
    assert isinstance(app, Flash)
    if app.layout is None:
        app.layout = []
    async with app.server.test_app() as served:
        client = served.test_client()
        for route in ("/", "/_dash-layout", "/_dash-dependencies"):
            response = await client.get(route)
            assert response.status_code == 200 or path in GUARDED, route
    for test in [test for name, test in vars(module).items() if name.startswith("test_")]:
        if iscoroutinefunction(test) and signature(test).parameters:
            await trio.to_thread.run_sync(run_on_mock_clock, test)
        else:
            await (test() if iscoroutinefunction(test) else trio.to_thread.run_sync(test))


def run_on_mock_clock(test: Callable[[MockClock], Awaitable[None]]) -> None:
    """Run a test that takes the fixture `mock_clock`."""
    clock = MockClock()
    trio.run(test, clock, clock=clock)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
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
