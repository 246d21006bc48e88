"""A text that grows token by token: each update is a `Patch` that carries the new token and nothing else."""

import re
from random import expovariate

import dash_mantine_components as dmc
import trio

from flash import Input, Output, Patch, State, event_callback, html, stream_props

from .layout import Tab, badge, readout

TEXTS = trio.Path(__file__).parent / "texts"
BOOKS = {
    "alice": ("Alice's Adventures in Wonderland", "Lewis Carroll, 1865"),
    "cities": ("A Tale of Two Cities", "Charles Dickens, 1859"),
    "whale": ("Moby-Dick; or, The Whale", "Herman Melville, 1851"),
}
TOKEN = re.compile(r"\s*\w{1,5}|\s*[^\w\s]|\s+")


@event_callback(
    Input("words-write", "n_clicks"),
    State("words-book", "value"),
    cancel=[Input("words-stop", "n_clicks"), Input("words-book", "value")],
    running=[
        (Output("words-write", "disabled"), True, False),
        (Output("words-stop", "disabled"), False, True),
        (Output("words-page", "className"), "card page writing", "card page"),
    ],
)
async def write(n_clicks: int, book: str):
    title, author = BOOKS[book]
    yield stream_props([("words-title", {"children": title}), ("words-author", {"children": author})])
    yield stream_props("words-text", {"children": ""})
    begun = trio.current_time()
    text = await (TEXTS / f"{book}.txt").read_text(encoding="utf-8")
    tokens = TOKEN.findall(text.strip())
    for count, token in enumerate(tokens, 1):
        await trio.sleep(expovariate(40) + (0.35 if token in ".;:?" else 0))
        growth = Patch()
        growth += token
        pace = count / (trio.current_time() - begun)
        yield stream_props(
            [
                ("words-text", {"children": growth}),
                ("words-count", {"children": f"{count} / {len(tokens)}"}),
                ("words-pace", {"children": f"{pace:.1f}"}),
            ]
        )


tab = Tab(
    value="words",
    label="Words",
    title="A text that is written before your eyes",
    lead="One token at a time, at a writer's uneven pace. Stop it, or choose another book: either ends the stream.",
    streams=[write.stream],
    source=__file__,
    body=[
        html.Div(
            [
                dmc.Select(
                    id="words-book",
                    value="alice",
                    data=[{"value": book, "label": title} for book, (title, _) in BOOKS.items()],
                    allowDeselect=False,
                    w=290,
                ),
                dmc.Button("Write", id="words-write"),
                dmc.Button("Stop", id="words-stop", variant="default", disabled=True),
                badge("words-status", write.stream),
                readout("words-count", "tokens"),
                readout("words-pace", "tokens a second"),
            ],
            className="bar",
        ),
        html.Article(
            [
                html.H2("Nothing written yet", id="words-title"),
                html.P("Choose a book and press Write", id="words-author"),
                html.Div("", id="words-text", className="prose"),
            ],
            id="words-page",
            className="card page",
        ),
    ],
)
