"""The app of `test_processes.py`, which serves it in a process of its own.

What happened to the stream is written to the file `log` in the folder in which it runs.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import AsyncIterator

import trio

from flash import Flash, Input, StreamCancelled, Update, html, stream_props
from tests.support.log_file import note

app = Flash("served_app")
app.layout = [html.Button(id="go"), html.Div(id="out")]


def on_error(error: StreamCancelled) -> Update:
    note(f"on_error {error.reason}")
    return stream_props("out", {"children": "stopped"})


@app.event_callback(Input("go", "n_clicks"), on_error=on_error, reset_props=[("out", {"title": ""})])
async def wait(clicks: int) -> AsyncIterator[Update]:
    try:
        yield stream_props("out", {"children": "before"})
        await trio.sleep_forever()
    finally:
        # Clean-up that takes a moment, and needs the event loop.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(note, "finally")


@app.server.route("/waits")
async def waits() -> str:
    """How often the event loop waits while a hundred tasks sleep until moments of their own, and then work a little."""
    counter = Waits()
    trio.lowlevel.add_instrument(counter)
    began = trio.current_time()

    async def work_at(moment: float) -> None:
        await trio.sleep_until(moment)
        time.sleep(0.0005)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(work_at, began + number / 1000)
    trio.lowlevel.remove_instrument(counter)
    return str(counter.count)


class Waits(trio.abc.Instrument):
    """Counts the waits of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += timeout > 0


if __name__ == "__main__":
    how, port = sys.argv[1], int(sys.argv[2])
    if how == "run":
        app.run(port=port)
    elif how == "run with debug":
        app.run(port=port, debug=True, use_reloader=False)
    elif how == "run with reloader":
        app.run(port=port, debug=True)
    else:
        thread = threading.Thread(target=app.run, kwargs={"port": port}, daemon=True)
        thread.start()
        thread.join()
    note("returned")
