"""Shared streams over several workers: a browser stays with its worker while a run lingers for it, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from flash import Flash, Input, Update, html, stream_props
from tests.support.eventually import eventually
from tests.workers.conftest import StartFleet
from tests.workers.test_sending_on import holders, page_with_stream


async def test_a_page_that_is_loaded_from_another_worker_follows_the_run_that_lingers_for_it(
    fleet: StartFleet,
) -> None:
    runs = 0
    to_its_end = trio.Event()

    def make_app() -> Flash:
        app = Flash(__name__, reconnect_grace=0)
        app.layout = [html.Button(id="go"), html.Div(id="out")]

        @app.event_callback(Input("go", "n_clicks"), shared="browser", linger=60)
        async def job(clicks: int) -> AsyncIterator[Update]:
            nonlocal runs
            runs += 1
            yield stream_props("out", {"children": f"run {runs}"})
            await to_its_end.wait()

        return app

    workers = await fleet(make_app, 2)
    page, _ = await page_with_stream(workers[0])
    await page.leave()
    await eventually(lambda: [info.state for info in workers[0].app.shared_streams()] == ["lingering"])
    await eventually(lambda: len(workers[0].app.channels) == 0)
    assert holders(workers, page) == [workers[0]]

    again = workers[1].page(await workers[1].server.page(browser=page.client))
    link = await again.connect()
    await again.start("go")
    await link.expect("open")
    assert (await link.expect("props"))["props"] == [["out", {"children": "run 1"}]]
    assert [len(worker.app.shared_streams()) for worker in workers] == [1, 0]

    # When the run is over, and the page gone, nothing keeps the browser there.
    to_its_end.set()
    await link.expect("end")
    await again.leave()
    await eventually(lambda: holders(workers, page) == [])
    assert runs == 1
