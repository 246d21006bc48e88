"""What becomes of a start while a run of its event callback has not ended, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from flash import MATCH, Flash, Input, Update, html, stream_props
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.callback_context import triggered_id


class Jobs:
    """An app whose event callback sends its click, and waits until it is told to go on.

    Attributes:
        app: its layout has `go`, `stop`, which cancels, and `tab`, which is to be `a`.
        asked: the values of `tab` that its condition was asked about.
        started: the clicks that have started a generator.
    """

    def __init__(self, overlap: str) -> None:
        self.app = Flash(__name__, reconnect_grace=0)
        self.app.layout = [
            html.Button(id="go"),
            html.Button(id="stop"),
            html.Div(id="tab", title="a"),
            html.P(id="out"),
        ]
        self.asked: list[object] = []
        self.started: list[int] = []
        self._go_on = trio.Event()

        def is_a(value: object) -> bool:
            self.asked.append(value)
            if value == "raise":
                raise ValueError(value)
            return value == "a"

        @self.app.event_callback(
            Input("go", "n_clicks"),
            cancel=[Input("stop", "n_clicks"), (Input("tab", "title"), is_a)],
            overlap=overlap,  # pyright: ignore[reportArgumentType]
        )
        async def job(clicks: int) -> AsyncIterator[Update]:
            self.started.append(clicks)
            yield stream_props("out", {"children": clicks})
            await self._go_on.wait()

    def go_on(self) -> None:
        """Let the runs that wait complete."""
        self._go_on.set()
        self._go_on = trio.Event()


async def test_a_start_is_dropped_until_the_run_before_has_ended(serve: Serve) -> None:
    jobs = Jobs("drop")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    await page.start("go")
    await link.expect("open")
    await link.expect("props")
    # It is answered as any start is, and the page is told nothing. Its conditions are not asked.
    page.set("tab", title="b")
    jobs.asked.clear()
    assert (await page.start("go")).status_code == 204
    assert jobs.asked == []
    page.set("tab", title="a")
    jobs.go_on()
    assert (await link.expect("end"))["reason"] == "completed"
    assert (await page.start("go")).status_code == 204
    await link.expect("open")
    await link.expect("props")
    assert jobs.started == [1, 3]


async def test_a_start_waits_its_turn_and_is_answered_at_once(serve: Serve) -> None:
    jobs = Jobs("queue")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    for _ in range(3):
        assert (await page.start("go")).status_code == 204
    for clicks in (1, 2, 3):
        await link.expect("open")
        assert (await link.expect("props"))["props"] == [["out", {"children": clicks}]]
        jobs.go_on()
        assert (await link.expect("end"))["reason"] == "completed"
    assert jobs.started == [1, 2, 3]


async def test_more_starts_than_may_wait_are_refused(serve: Serve) -> None:
    jobs = Jobs("queue")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    for _ in range(11):
        assert (await page.start("go")).status_code == 204
    sentence = "'Jobs.__init__.job' was not started: 10 starts wait their turn already. Let one run first."
    assert_refused(await page.start("go"), 429, sentence)
    assert (await link.until("refused"))["message"] == sentence


async def test_what_stops_the_run_that_goes_on_stops_those_that_wait(serve: Serve) -> None:
    jobs = Jobs("queue")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    await page.start("go")
    stream = (await link.expect("open"))["stream"]
    await link.expect("props")
    for _ in range(2):
        await page.start("go")
    page.set("stop", n_clicks=1)
    assert (await page.cancel(stream, 0, 1)).status_code == 204
    assert (await link.expect("end"))["reason"] == "cancelled"
    for _ in range(2):
        refused = await link.expect("refused")
        assert refused["status"] == "idle"
        assert "its condition on stop.n_clicks is not met any more, now that its turn has come." in refused["message"]
    # A start behind the click is another matter.
    await page.start("go")
    await link.expect("open")
    await link.expect("props")
    assert jobs.started == [1, 4]


async def test_a_change_that_was_made_before_a_start_is_none_to_it_though_its_message_is_late(serve: Serve) -> None:
    jobs = Jobs("queue")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    await page.start("go")
    stream = (await link.expect("open"))["stream"]
    await link.expect("props")
    page.set("stop", n_clicks=1)
    await page.start("go")
    assert (await page.cancel(stream, 0, 1)).status_code == 204
    assert (await link.expect("end"))["reason"] == "cancelled"
    await link.expect("open")
    await link.expect("props")
    assert jobs.started == [1, 2]


async def test_a_condition_that_raises_when_the_turn_has_come_keeps_the_run_from_opening(serve: Serve) -> None:
    jobs = Jobs("queue")
    page = await (await serve(jobs.app)).page()
    link = await page.connect()
    await page.start("go")
    stream = (await link.expect("open"))["stream"]
    await link.expect("props")
    await page.start("go")
    await page.cancel(stream, 1, "raise")
    assert (await link.expect("end"))["reason"] == "cancelled"
    assert "its condition on tab.title is not met" in (await link.expect("refused"))["message"]
    assert jobs.started == [1]


async def test_each_value_that_match_has_matched_has_a_queue_of_its_own(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id={"go": index}, n_clicks=0) for index in (1, 2)]

    @app.event_callback(Input({"go": MATCH}, "n_clicks"), overlap="queue")
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props({"go": triggered_id()["go"]}, {"children": clicks})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    link = await page.connect()
    for index in (1, 2):
        await page.start({"go": index})
        assert (await link.expect("open"))["match"] == f'{{"go":{index}}}'
        await link.expect("props")
    await page.start({"go": 1})
    assert len(app.streams()) == 2
    # A refusal names the run that it is of.
    assert app.end_streams(where=lambda info: info.state == "waiting") == 0
    refused = await link.expect("refused")
    assert (refused["match"], refused["status"]) == ('{"go":1}', "revoked")
