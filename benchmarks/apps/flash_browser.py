"""A page with 20 components that change 100 times a second each, one to which patches add, and one to type in.

The number of clicks of a button is the number of seconds; the streams of the second one conflate. `/plain?seconds=5`
has the same updates, but for the patches, as bare events, for a page that applies each by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable

import trio
from quart import Response, request

from benchmarks.apps.settings import COMPONENTS, PATCH_RATE, RATE
from flash import Flash, Input, Patch, Update, dcc, event_callback, html, stream_props

app = Flash(__name__)
app.layout = html.Div(
    [
        html.Button("Start", id="go"),
        html.Button("Conflate", id="conflate"),
        dcc.Input(id="typed"),
        html.Div([], id="patched"),
    ]
    + [html.Div(id=f"shown{number}") for number in range(COMPONENTS)]
)


def value(number: int) -> str:
    """The number of an update, and the time of it, in milliseconds on the clock that browsers have."""
    return f"{number} {time.time() * 1000:.0f}"


def shows(component: str) -> Callable[[int], AsyncGenerator[Update, None]]:
    async def show(seconds: int) -> AsyncGenerator[Update, None]:
        at = trio.current_time()
        for number in range(seconds * RATE):
            await trio.sleep_until(at)
            at += 1 / RATE
            yield stream_props(component, {"children": value(number)})

    return show


for index in range(COMPONENTS):
    event_callback(Input("go", "n_clicks"))(shows(f"shown{index}"))
    event_callback(Input("conflate", "n_clicks"), conflate=True)(shows(f"shown{index}"))


@event_callback(Input("go", "n_clicks"), Input("conflate", "n_clicks"))
async def patched(all_of_them: int | None, newest: int | None) -> AsyncGenerator[Update, None]:
    seconds = all_of_them or newest or 0
    at = trio.current_time()
    for number in range(seconds * PATCH_RATE):
        await trio.sleep_until(at)
        at += 1 / PATCH_RATE
        more = Patch()
        more.append(f"{number} ")
        yield stream_props("patched", {"children": more})


@app.server.get("/plain")
async def plain() -> Response:
    seconds = int(request.args["seconds"])

    async def body() -> AsyncGenerator[bytes, None]:
        at = trio.current_time()
        for number in range(seconds * RATE):
            for component in range(COMPONENTS):
                update = [f"shown{component}", {"children": value(number)}]
                yield f"data: {json.dumps(update)}\n\n".encode()
                at += 1 / RATE / COMPONENTS
                await trio.sleep_until(at)
        yield b"event: end\ndata: {}\n\n"

    response = Response(body(), content_type="text/event-stream")
    response.timeout = None
    return response
