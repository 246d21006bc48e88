"""`app.run()` in the cells of a real kernel."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.faults.sockets import Site
from tests.notebooks.kernels import Kernel, Outcome

APP = """
import time, trio
from flash import Flash, Input, event_callback, html, stream_props

app = Flash()
app.layout = html.Div([html.Button(id="go"), html.Div(id="out")])

@event_callback(Input("go", "n_clicks"))
async def tick(n_clicks):
    try:
        while True:
            yield stream_props("out", {{"children": time.monotonic()}})
            await trio.sleep(0.05)
    finally:
        with open({ended!r}, "a") as file:
            file.write("ended ")
"""

LEFT = """
import threading
print([thread.name for thread in threading.enumerate() if thread.name.startswith("Flash")])
"""


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A file in which each stream of `APP` notes its end."""
    path = tmp_path / "ended"
    path.touch()
    return path


async def run(kernel: Kernel, code: str, *, interrupt_when_printed: str = "") -> Outcome:
    return await trio.to_thread.run_sync(partial(kernel.run, code, interrupt_when_printed=interrupt_when_printed))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_running_a_cell_again_ends_the_streams_and_takes_the_port_over(
    kernel: Kernel, port: int, ended: Path
) -> None:
    code = APP.format(ended=str(ended)) + f"app.run(port={port})"
    for number in range(2):
        outcome = await run(kernel, code)
        assert outcome.error == ""
        assert [f'src="http://127.0.0.1:{port}/"' in each["text/html"] for each in outcome.displayed] == [True]
        assert ended.read_text().count("ended") == number
        site = Site(port)
        page = await site.page()
        link = await page.connect()
        await page.begin("go")
        await link.until("props")
        if number == 0:
            again = await run(kernel, code)
            assert again.error == ""
            assert (await link.until("end"))["reason"] == "shutdown"
            assert ended.read_text().count("ended") == 1
        await site.close()
        await run(kernel, "import dash._jupyter; dash._jupyter.jupyter_dash._servers.popitem()[1].shutdown()")
    assert (await run(kernel, LEFT)).printed == "[]\n"
    assert is_free(port)


async def test_an_interrupt_of_another_cell_leaves_the_streams_alone(kernel: Kernel, port: int, ended: Path) -> None:
    assert (await run(kernel, APP.format(ended=str(ended)) + f"app.run(port={port})")).error == ""
    site = Site(port)
    page = await site.page()
    link = await page.connect()
    await page.begin("go")
    await link.until("props")
    busy = "print('busy', flush=True)\nwhile True: time.sleep(0.01)"
    outcome = await run(kernel, busy, interrupt_when_printed="busy")
    assert outcome.error.startswith("KeyboardInterrupt")
    await link.until("props")
    assert ended.read_text() == ""
    await site.close()


async def test_an_interrupt_while_the_server_starts_leaves_nothing_of_it(kernel: Kernel, port: int) -> None:
    slow = """
@app.server.before_serving
async def wait():
    print("starting", flush=True)
    await trio.sleep_forever()
"""
    code = APP.format(ended="/dev/null") + slow + f"app.run(port={port})"
    outcome = await run(kernel, code, interrupt_when_printed="starting")
    assert outcome.error.startswith("KeyboardInterrupt")
    assert f":{port}" not in (await run(kernel, LEFT)).printed
    assert is_free(port)


async def test_what_keeps_the_server_from_starting_is_raised_in_the_cell(kernel: Kernel, port: int) -> None:
    broken = """
@app.server.before_serving
async def fail():
    raise ValueError("no instrument")
"""
    outcome = await run(kernel, APP.format(ended="/dev/null") + broken + f"app.run(port={port})")
    assert "no instrument" in outcome.error
    assert is_free(port)


async def test_a_port_that_something_else_has_is_named_in_the_cell(kernel: Kernel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = await run(kernel, APP.format(ended="/dev/null") + f"app.run(port={port})")
    assert outcome.error.startswith("OSError")
    assert f"Port {port} of 127.0.0.1 is taken, and not by this notebook" in outcome.error


@pytest.mark.parametrize("option", ["workers=2", "certfile='cert.pem'", "keep_alive_timeout=1"])
async def test_an_option_that_would_be_lost_in_a_notebook_is_refused(kernel: Kernel, port: int, option: str) -> None:
    outcome = await run(kernel, APP.format(ended="/dev/null") + f"app.run(port={port}, {option})")
    assert outcome.error.startswith(
        f"InvalidOption: app.run({option.partition('=')[0]}=...) has no effect in a notebook"
    )


async def test_options_of_flasks_that_a_notebook_needs_not_are_accepted(kernel: Kernel, port: int) -> None:
    code = APP.format(ended="/dev/null") + f"app.run(port={port}, debug=True, use_reloader=False, threaded=True)"
    assert (await run(kernel, code)).error == ""


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("external", []), ("tab", ["application/javascript"]), ("inline", ["text/html"]), ("_none", [])],
)
async def test_each_mode_of_dashs_shows_the_app_where_it_does_with_dash(
    kernel: Kernel, port: int, mode: str, shown: list[str]
) -> None:
    code = APP.format(ended="/dev/null") + f"app.run(port={port}, jupyter_mode={mode!r})"
    outcome = await run(kernel, code)
    assert [kind for each in outcome.displayed for kind in each if kind != "text/plain"] == shown
    assert (f"Dash app running on http://127.0.0.1:{port}/" in outcome.printed) == (mode in ("external", "tab"))
    assert not is_free(port)


async def test_restarting_the_kernel_ends_the_streams_and_frees_the_port(port: int, ended: Path) -> None:
    kernel = await trio.to_thread.run_sync(Kernel)
    try:
        assert (await run(kernel, APP.format(ended=str(ended)) + f"app.run(port={port})")).error == ""
        site = Site(port)
        page = await site.page()
        link = await page.connect()
        await page.begin("go")
        await link.until("props")
        await trio.to_thread.run_sync(kernel.restart)
        assert (await link.until("end"))["reason"] == "shutdown"
        assert ended.read_text() == "ended "
        assert is_free(port)
        await site.close()
        assert (await run(kernel, APP.format(ended=str(ended)) + f"app.run(port={port})")).error == ""
    finally:
        await trio.to_thread.run_sync(kernel.close)
