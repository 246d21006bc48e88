"""`app.run()` in a notebook that JupyterLab shows: the app is in a frame, of another site than the notebook."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dash
import nbformat
import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, TimeoutError as PlaywrightTimeoutError, expect

from tests.browser.conftest import Console
from tests.support.connections import free_port
from tests.support.eventually import TIMEOUT, eventually_sync
from tests.support.processes import running

APP = """
import trio
from flash import Flash, Input, event_callback, html, stream_props

app = Flash()
app.layout = html.Div([html.P("{word}", id="word"), html.Button("Go", id="go"), html.Div("-", id="out")])

@event_callback(Input("go", "n_clicks"), prevent_initial_call=True)
async def count(n_clicks):
    number = 0
    while True:
        yield stream_props("out", {{"children": f"{word} {{number}}"}})
        number += 1
        await trio.sleep(0.05)

app.run(port={port}, jupyter_mode={mode!r})
"""

LOAD_EXTENSION = """source => {
    const app = window.jupyterapp;
    let Widget = app.shell.constructor;
    while (!Object.hasOwn(Widget, 'attach')) {
        Widget = Object.getPrototypeOf(Widget);
    }
    const extension = {};
    new Function('exports', 'require', source)(extension, name => (name === '@lumino/widgets' ? {Widget} : {}));
    const notebooks = {widgetAdded: {connect: notice => notice(null, app.shell.currentWidget)}};
    extension.default.activate(app, null, notebooks, {widgetAdded: {connect() {}}});
}"""
"""Starts the extension of Dash's, whose code this is given, in an open JupyterLab."""


@dataclass
class Lab:
    """A JupyterLab that runs.

    Attributes:
        folder: where its notebooks are.
        port: where it listens.
    """

    folder: Path
    port: int


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    port = free_port()
    settings = {"ip": "localhost", "port": port, "port_retries": 0, "open_browser": False, "allow_root": True}
    options = [f"--ServerApp.{name}={value}" for name, value in settings.items()]
    options.append("--LabApp.expose_app_in_browser=True")
    # JupyterLab would propose, in a dialog, to build an extension that Dash brings.
    labconfig = folder / "jupyter_config_dir" / "labconfig"
    labconfig.mkdir(parents=True)
    (labconfig / "page_config.json").write_text(json.dumps({"buildAvailable": False, "buildCheck": False}))
    folders = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR")}
    command = [sys.executable, "-m", "jupyterlab", "--IdentityProvider.token=", *options]
    with running(command, folder, folders) as process:
        process.wait_for(lambda: f"http://localhost:{port}/lab" in process.output, "JupyterLab serves")
        yield Lab(folder, port)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def open_notebook(lab: Lab, port: int, context: BrowserContext) -> Iterator[Callable[[str], Page]]:
    """Opens a notebook with two cells, the second of which serves another app at the same port."""
    opened: list[Page] = []

    def open_notebook(mode: str) -> Page:
        cells = [APP.format(port=port, word=word, mode=mode).strip() for word in ("first", "second")]
        contents = nbformat.v4.new_notebook(
            cells=[*map(nbformat.v4.new_code_cell, cells)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(contents, lab.folder / f"{mode}.ipynb")
        page = context.new_page()
        opened.append(page)
        page.set_default_timeout(TIMEOUT * 1000)
        # Not 127.0.0.1, where the app is: a cookie that is not made for frames would be lost.
        page.goto(f"http://localhost:{lab.port}/lab/tree/{mode}.ipynb?reset")
        expect(page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(2, timeout=TIMEOUT * 1000)
        # A cell that is run before its kernel is there is lost.
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        return page

    yield open_notebook
    for page in opened:
        page.close()


def run_cell(page: Page, number: int) -> None:
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def expect_stream(app: FrameLocator, word: str) -> None:
    """Click in an app, and wait until its stream has updated it."""
    app.locator("#go").click()
    expect(app.locator("#out")).to_have_text(re.compile(rf"{word} \d\d"), timeout=TIMEOUT * 1000)


def show(notebook: Page, name: str, app: FrameLocator) -> None:
    """Have JupyterLab show the tab of an app, and Chromium what is in it.

    JupyterLab may go back to the cell that has run. And Chromium does not paint a frame of another site that comes into
    sight just when it loads once more, as it does here, until that has been out of sight again.
    """

    def is_shown() -> bool:
        notebook.get_by_role("tab", name=".ipynb").click()
        notebook.get_by_role("tab", name=name).click()
        try:
            app.locator("#go").wait_for(timeout=1000)
        except PlaywrightTimeoutError:
            return False
        return True

    eventually_sync(is_shown, "the app is shown")


def test_an_app_in_a_cell_streams_and_ends_when_another_takes_its_port(
    open_notebook: Callable[[str], Page], port: int, console: Console
) -> None:
    notebook = open_notebook("inline")
    for number, word in enumerate(("first", "second")):
        run_cell(notebook, number)
        cell = notebook.locator(".jp-CodeCell").nth(number)
        expect_stream(cell.frame_locator(f"iframe[src='http://127.0.0.1:{port}/']"), word)
    # JupyterLab misses the extension of Dash's, whose build it was kept from proposing.
    assert set(console.take()) <= {"Exception opening new comm"}


def test_an_app_in_a_tab_of_jupyterlab_streams_and_the_next_one_takes_its_tab(
    open_notebook: Callable[[str], Page], port: int
) -> None:
    """The extension of Dash's is its own code, as Dash brings it. To build it into JupyterLab would take minutes."""
    notebook = open_notebook("jupyterlab")
    with tarfile.open(Path(dash.__file__).parent / "labextension" / "dist" / "dash-jupyterlab.tgz") as package:
        source = package.extractfile("package/lib/index.js")
        assert source is not None
        notebook.evaluate(LOAD_EXTENSION, source.read().decode())
    for number, word in enumerate(("first", "second")):
        notebook.get_by_role("tab", name="jupyterlab.ipynb").click()
        run_cell(notebook, number)
        app = notebook.frame_locator(f".jp-dashWidget iframe[src='http://127.0.0.1:{port}/']")
        expect(app.locator("#word")).to_have_text(word, timeout=TIMEOUT * 1000)
        show(notebook, f"Dash (port: {port})", app)
        expect_stream(app, word)
    assert notebook.locator(".jp-dashWidget").count() == 1
