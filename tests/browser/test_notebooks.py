"""`app.run()` in a notebook that JupyterLab shows: the app is in a frame, of another site than the notebook."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.browser.conftest import Console
from tests.support.connections import free_port
from tests.support.eventually import TIMEOUT
from tests.support.processes import running

APP = """
import trio
from flash import Flash, Input, event_callback, html, stream_props

app = Flash()
app.layout = html.Div([html.Button("Go", id="go"), html.Div("-", id="out")])

@event_callback(Input("go", "n_clicks"), prevent_initial_call=True)
async def count(n_clicks):
    number = 0
    while True:
        yield stream_props("out", {{"children": f"{word} {{number}}"}})
        number += 1
        await trio.sleep(0.05)

app.run(port={port})
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def notebook(tmp_path: Path, port: int, context: BrowserContext) -> Iterator[Page]:
    """A notebook with two cells, the second of which serves another app at the same port."""
    contents = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(APP.format(port=port, word=word).strip()) for word in ("first", "second")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(contents, tmp_path / "app.ipynb")
    lab = free_port()
    settings = {"ip": "localhost", "port": lab, "port_retries": 0, "open_browser": False, "allow_root": True}
    options = [f"--ServerApp.{name}={value}" for name, value in settings.items()]
    # JupyterLab would propose, in a dialog, to build an extension that Dash brings.
    labconfig = tmp_path / "jupyter_config_dir" / "labconfig"
    labconfig.mkdir(parents=True)
    (labconfig / "page_config.json").write_text(json.dumps({"buildAvailable": False, "buildCheck": False}))
    folders = {name: str(tmp_path / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR")}
    command = [sys.executable, "-m", "jupyterlab", "--IdentityProvider.token=", *options]
    with running(command, tmp_path, folders) as process:
        process.wait_for(lambda: f"http://localhost:{lab}/lab" in process.output, "JupyterLab serves")
        page = context.new_page()
        page.set_default_timeout(TIMEOUT * 1000)
        # Not 127.0.0.1, where the app is: a cookie that is not made for frames would be lost.
        page.goto(f"http://localhost:{lab}/lab/tree/app.ipynb")
        expect(page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(2, timeout=TIMEOUT * 1000)
        yield page
        page.close()


def run_cell(page: Page, number: int) -> None:
    # A cell that is run before its kernel is there is lost.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def frame(page: Page, port: int, number: int) -> FrameLocator:
    """The app that the cell of this number shows."""
    return page.locator(".jp-CodeCell").nth(number).frame_locator(f"iframe[src='http://127.0.0.1:{port}/']")


def test_an_app_in_a_cell_streams_and_ends_when_another_takes_its_port(
    notebook: Page, port: int, console: Console
) -> None:
    run_cell(notebook, 0)
    first = frame(notebook, port, 0)
    first.locator("#go").click()
    expect(first.locator("#out")).to_have_text(re.compile(r"first \d\d"), timeout=TIMEOUT * 1000)
    run_cell(notebook, 1)
    second = frame(notebook, port, 1)
    second.locator("#go").click()
    expect(second.locator("#out")).to_have_text(re.compile(r"second \d\d"), timeout=TIMEOUT * 1000)
    # JupyterLab misses the extension of Dash's, whose build it was kept from proposing.
    assert set(console.take()) <= {"Exception opening new comm"}
