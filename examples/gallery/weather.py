"""Streams in trouble: they fail, overrun, start over, block a thread; each ends once, in the same orderly way."""

import time
from collections.abc import Callable
from datetime import datetime

import dash_mantine_components as dmc
import trio
from dash.development.base_component import Component

from flash import (
    Input,
    Output,
    Patch,
    StreamCancelled,
    StreamInfo,
    Update,
    clientside_callback,
    event_callback,
    html,
    stream_props,
)

from .layout import Tab, badge


def log(name: str, reason: str, note: str = "") -> Update:
    """An update that puts a line on top of the log."""
    when = f"{datetime.now():%H:%M:%S}"
    label = html.Span(reason.replace("_", " "), className=f"badge {reason}")
    lines = Patch()
    lines.prepend(html.Li([html.Time(when), html.B(name), label, html.P(note)]))
    return stream_props("weather-log", {"children": lines})


def log_end(name: str) -> Callable[[Exception], Update]:
    """An `on_error` that logs how the stream ended."""

    def on_error(error: Exception) -> Update:
        if isinstance(error, StreamCancelled):
            return log(name, error.reason)
        return log(name, "failed", f"{type(error).__name__}: {error}")

    return on_error


def gauge(key: str, step: int, steps: int) -> Update:
    return stream_props(f"{key}-gauge", {"value": 100 * step / steps})


@event_callback(Input("early-go", "n_clicks"), on_error=log_end("Fails at once"))
async def fail_at_once(n_clicks: int):
    report = await trio.Path("gone.csv").read_text()
    yield stream_props("early-gauge", {"value": len(report)})


@event_callback(Input("midway-go", "n_clicks"), on_error=log_end("Fails midway"))
async def fail_midway(n_clicks: int):
    for step in range(1, 9):
        yield gauge("midway", step, 8)
        await trio.sleep(0.5 / (4 - step))


@event_callback(Input("slow-go", "n_clicks"), timeout=3, on_error=log_end("Takes too long"))
async def take_too_long(n_clicks: int):
    for step in range(1, 101):
        yield gauge("slow", step, 100)
        await trio.sleep(0.05)


@event_callback(Input("twice-go", "n_clicks"), on_error=log_end("Starts over"))
async def start_over(n_clicks: int):
    for step in range(1, 101):
        yield gauge("twice", step, 100)
        await trio.sleep(0.06)
    yield log("Starts over", "completed")


@event_callback(
    Input("called-go", "n_clicks"),
    cancel=[Input("called-stop", "n_clicks")],
    running=[(Output("called-stop", "disabled"), False, True)],
    reset_props=[("called-gauge", {"value": 0})],
    on_error=log_end("Is called off"),
)
async def be_called_off(n_clicks: int):
    for step in range(1, 201):
        yield gauge("called", step, 200)
        await trio.sleep(0.06)
    yield log("Is called off", "completed")


@event_callback(
    Input("blocking-go", "n_clicks"),
    cancel=[Input("blocking-stop", "n_clicks")],
    running=[(Output("blocking-stop", "disabled"), False, True)],
    on_error=log_end("Blocks a thread"),
)
def block_a_thread(n_clicks: int):
    for step in range(1, 9):
        yield gauge("blocking", step, 8)
        time.sleep(1)
    yield log("Blocks a thread", "completed")


TRIALS = [
    ("early", "Fails at once", "Raises before its first yield.", fail_at_once),
    ("midway", "Fails midway", "Divides by zero at step four.", fail_midway),
    ("slow", "Takes too long", "Has three seconds, and needs five.", take_too_long),
    ("twice", "Starts over", "Press Start again: the new run takes over.", start_over),
    ("called", "Is called off", "Cancel resets its gauge.", be_called_off),
    ("blocking", "Blocks a thread", "A plain generator. Cancel waits for its step.", block_a_thread),
]
CANCELLABLE = {"called", "blocking"}


def card(key: str, name: str, text: str, stream: Component) -> html.Section:
    """A trial: what it does, how far it is, how its stream is doing."""
    clientside_callback("error => error", Output(f"{key}-error", "children"), Input(stream, "error"))
    buttons = [dmc.Button("Start", id=f"{key}-go", size="xs")]
    if key in CANCELLABLE:
        buttons.append(dmc.Button("Cancel", id=f"{key}-stop", size="xs", variant="default", disabled=True))
    return html.Section(
        [
            html.Header([html.H2(name), badge(f"{key}-status", stream)]),
            html.P(text),
            dmc.Progress(id=f"{key}-gauge", value=0, size="sm"),
            html.Footer([*buttons, html.Output(id=f"{key}-error")]),
        ],
        className="card trial",
    )


def held(streams: list[StreamInfo]) -> list[html.Li]:
    """The list of the streams that the server holds now."""
    return [
        html.Li([html.B(stream.callback), html.Span(stream.state), html.Time(f"{stream.age:.0f} s")])
        for stream in streams
    ]


tab = Tab(
    value="weather",
    label="Rough weather",
    title="Streams in trouble",
    lead="Whatever happens to a stream, it ends once, its clean-up runs, and the server keeps nothing of it.",
    streams=[event.stream for _, _, _, event in TRIALS],
    source=__file__,
    body=[
        html.Div([card(key, name, text, event.stream) for key, name, text, event in TRIALS], className="trials"),
        html.Div(
            [
                html.Section([html.H2("Held by the server"), html.Ul(id="weather-held")], className="card lines"),
                html.Section([html.H2("How they ended"), html.Ol([], id="weather-log")], className="card lines"),
            ],
            className="ledger grow",
        ),
    ],
)
