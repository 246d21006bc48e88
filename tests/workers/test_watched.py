"""A change of a watched Input that lands on another worker than the one that runs the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from flash import Flash, Input, Update, Watched, dcc, html, stream_props
from tests.workers.conftest import StartFleet
from tests.workers.test_sending_on import holders, page_beside


def make_app() -> Flash:
    """An app whose stream shows the watched speed each time when it changes."""
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), dcc.Input(id="speed", value=1), html.P(id="out")])

    @app.event_callback(Input("go", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def race(clicks: int, speed: Watched[int]) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": speed.value})
            await speed.changed()

    return app


async def test_a_change_of_a_watched_input_travels_to_the_holder(fleet: StartFleet) -> None:
    workers = await fleet(make_app, 2)
    page = await page_beside(workers)
    link = await page.connect()
    assert (await page.start("go")).status_code == 204
    stream = (await link.expect("open"))["stream"]
    assert (await link.expect("props"))["props"] == [["out", {"children": 1}]]
    for speed in (2, 3):
        assert (await page.cancel(stream, 0, speed)).status_code == 204
        assert (await link.expect("props"))["props"] == [["out", {"children": speed}]]
    assert [len(worker.app.streams()) for worker in workers] == [1, 0]
    assert holders(workers, page) == [workers[0]]
