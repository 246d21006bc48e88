"""Shared streams in Chromium: a job survives a reload of its page, and Stop in any tab stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from playwright.sync_api import Browser, BrowserContext, Page, expect

from flash import Flash, Input, Output, Patch, Update, every, html, stream_props
from tests.browser.conftest import Serve
from tests.support.eventually import eventually_sync

LINGER = 30


class Job:
    """An app with a job, which goes on when it is told to.

    Attributes:
        runs: how many have begun.
        open: how many have not ended.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.open = 0
        self._steps = 0
        self.app = app = Flash(__name__)
        app.layout = [
            html.Button("Start", id="start"),
            html.Button("Stop", id="stop"),
            html.P("idle", id="state"),
            html.Ol([], id="rows"),
        ]

        @app.event_callback(
            Input("start", "n_clicks"),
            shared="browser",
            linger=LINGER,
            resume=True,
            cancel=[Input("stop", "n_clicks")],
            running=[(Output("start", "disabled"), True, False)],
            reset_props=[("state", {"children": "stopped"})],
        )
        async def job(n_clicks: int) -> AsyncIterator[Update]:
            self.runs += 1
            self.open += 1
            try:
                yield stream_props([("rows", {"children": []}), ("state", {"children": "running"})])
                for number in range(1, 4):
                    async for _ in every(0.01):
                        if self._steps >= number:
                            break
                    row = Patch()
                    row.append(html.Li(f"row {number}"))
                    yield stream_props("rows", {"children": row})
                yield stream_props("state", {"children": "done"})
            finally:
                self.open -= 1

    def go_on(self, steps: int) -> None:
        """Let it come to so many rows."""
        self._steps = steps

    def expect_state(self, state: str) -> None:
        eventually_sync(lambda: self.states() == [state])

    def states(self) -> list[str]:
        return [str(source._lifecycle.state) for source in list(self.app.sources._running)]


def expect_job(page: Page, rows: int, state: str = "running") -> None:
    """The page shows the job with so many rows."""
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#rows li")).to_have_count(rows)
    expect(page.locator("#start")).to_be_disabled() if state == "running" else expect(
        page.locator("#start")
    ).to_be_enabled()


def test_a_job_survives_the_reload_of_its_page_in_the_middle_and_its_end_while_it_is_away(
    context: BrowserContext, serving: Serve
) -> None:
    job = Job()
    url = serving(job.app).url
    page = context.new_page()
    page.goto(url)
    page.click("#start")
    job.go_on(1)
    expect_job(page, 1)
    page.reload()
    expect_job(page, 1)
    job.go_on(2)
    expect_job(page, 2)

    # It comes to its end while no page is there, and who comes back in time sees it.
    page.goto("about:blank")
    job.expect_state("lingering")
    job.go_on(3)
    job.expect_state("kept")
    page.goto(url)
    expect_job(page, 3, "done")
    assert job.runs == 1

    # A click starts another run, even now. It stands where the page can be seen to follow it, and not the one before.
    job.go_on(0)
    page.click("#start")
    expect_job(page, 0)
    job.go_on(3)
    expect_job(page, 3, "done")
    assert job.runs == 2
    # After its end with the page there, a page that is loaded finds nothing, and starts nothing.
    page.reload()
    expect_job(page, 0, "idle")
    assert (job.runs, job.states()) == (2, [])


def test_stop_in_one_tab_ends_the_job_in_both_and_another_browser_sees_nothing_of_it(
    context: BrowserContext, chromium: Browser, serving: Serve
) -> None:
    job = Job()
    url = serving(job.app).url
    first, second = context.new_page(), context.new_page()
    first.goto(url)
    first.click("#start")
    job.go_on(1)
    expect_job(first, 1)
    # The other tab joins by itself.
    second.goto(url)
    expect_job(second, 1)
    other = chromium.new_context()
    try:
        stranger = other.new_page()
        stranger.goto(url)
        expect(stranger.locator("#state")).to_have_text("idle")
        second.click("#stop")
        for page in (first, second):
            expect_job(page, 1, "stopped")
        eventually_sync(lambda: job.open == 0)
        expect(stranger.locator("#state")).to_have_text("idle")
    finally:
        other.close()
    assert (job.runs, job.states()) == (1, [])
