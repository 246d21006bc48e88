"""The app of `test_processes.py`, which serves it in a process of its own.

What happened to the stream is written to the file `log` in the folder in which it runs.
"""

from __future__ import annotations

import sys
import threading
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
