"""The apps of the tutorial and of the how-to pages do in a browser what their pages say."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from flash import Flash
from tests.browser.conftest import Console, Visit
from tests.support.doc_examples import DOCS, run_examples

Open = Callable[[str], Page]

NOTE_TEXTS = """selector => {
    window.noted = [];
    // The element itself may be replaced.
    const note = () => noted.push(document.querySelector(selector)?.textContent ?? '');
    new MutationObserver(note).observe(document.body, {childList: true, characterData: true, subtree: true});
}"""
"""Has a page note each text of an element that is shown from now on, however soon the next one follows."""


@pytest.fixture
def open_example(visit: Visit) -> Open:
    """Opens the app of a page of the docs."""

    def open_example(page: str) -> Page:
        app = run_examples(DOCS / page).__dict__["app"]
        assert isinstance(app, Flash)
        return visit(app)

    return open_example


def test_a_first_stream(open_example: Open) -> None:
    page = open_example("tutorial/first-stream.md")
    page.click("#go")
    expect(page.locator("#out")).to_have_text(re.compile("[1-9]"))


def test_stop(open_example: Open) -> None:
    page = open_example("tutorial/stop.md")
    page.click("#go")
    expect(page.locator("#out")).to_have_text(re.compile(r"\d+"))
    page.click("#stop")
    expect(page.locator("#out")).to_have_text("ready")


def test_progress(open_example: Open) -> None:
    page = open_example("tutorial/progress.md")
    expect(page.locator("#state")).to_have_text("The report is idle.")
    page.click("#make")
    expect(page.locator("#out")).to_contain_text("of 20")
    expect(page.locator("#make")).to_be_disabled()
    page.click("#stop")
    expect(page.locator("#state")).to_have_text("The report is cancelled.")
    expect(page.locator("#make")).to_be_enabled()
    expect(page.locator("#out")).to_have_text("nothing yet")


def test_a_live_chart(open_example: Open) -> None:
    page = open_example("tutorial/live-chart.md")
    expect(page.locator("#chart .trace.scatter")).to_be_attached()
    page.wait_for_function("document.querySelector('#chart .js-plotly-plot').data[0].x.length > 2")


def test_errors(open_example: Open) -> None:
    page = open_example("tutorial/errors.md")
    expect(page.locator("#divisor")).to_be_visible()
    page.click("#go")
    expect(page.locator("#message")).to_have_text("Something went wrong: division by zero.")
    page.fill("#divisor", "2")
    # Each number stands for half a second, so the page notes them.
    page.evaluate(NOTE_TEXTS, "#out")
    page.click("#go")
    page.wait_for_function("noted.includes('5.00')")
    page.click("#stop")
    expect(page.locator("#message")).to_have_text("Ended: cancelled.")
    page.click("#go")
    expect(page.locator("#message")).to_have_text("dividing")
    expect(page.locator("#message")).to_have_text("Ended: timed_out.")


def test_a_feed_for_many(open_example: Open) -> None:
    page = open_example("tutorial/feed.md")
    other = page.context.new_page()
    other.goto(page.url)
    for seen in (page, other):
        expect(seen.locator("#price")).to_have_text(re.compile(r"KELP \d+\.\d\d"))


def test_a_chat_with_a_language_model(open_example: Open) -> None:
    page = open_example("how-to/llm-chat.md")
    # The answer moves to the messages soon after its last word, so the page notes it.
    page.evaluate(NOTE_TEXTS, "#answer")
    page.fill("#question", "Why?")
    page.press("#question", "Enter")
    page.wait_for_function("noted.some(text => text.includes('You asked: Why?'))")
    expect(page.locator("#messages")).to_contain_text("assistant: You asked: Why? That is a good question.")
    expect(page.locator("#question")).to_have_value("")
    # The answer repeats the question: half a minute in which to stop it.
    page.fill("#question", "Why not? " * 300)
    page.click("#send")
    expect(page.locator("#answer")).to_contain_text("You asked")
    page.click("#stop")
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#messages")).not_to_contain_text("assistant: You asked: Why not?")


def test_a_trading_blotter(open_example: Open) -> None:
    page = open_example("how-to/blotter.md")
    rows = page.locator("#blotter .ag-center-cols-container .ag-row")
    expect(page.locator("#blotter")).to_contain_text("working")
    page.get_by_text("Equities", exact=True).first.click()
    expect(rows.filter(has_text="Rates")).to_have_count(0)
    expect(rows.filter(has_text="Equities")).not_to_have_count(0)


def test_a_laboratory_instrument(open_example: Open) -> None:
    page = open_example("how-to/instrument.md")
    expect(page.locator("#reading")).to_have_text(re.compile(r"\d\.\d{3} V"))
    page.evaluate(NOTE_TEXTS, "#recorded")
    page.click("#record")
    page.wait_for_function("noted.some(text => text.includes('2 readings in run-1.csv'))")
    page.click("#stop")
    expect(page.locator("#record")).to_be_enabled()


def test_logging_a_user_out(open_example: Open, console: Console) -> None:
    page = open_example("how-to/log-out.md")
    page.fill("[name=user]", "ada")
    page.fill("[name=password]", "babbage")
    page.get_by_text("Log in").click()
    expect(page.get_by_text("the password is another one")).to_be_visible()
    page.fill("[name=user]", "ada")
    page.fill("[name=password]", "lovelace")
    page.get_by_text("Log in").click()
    expect(page.locator("#seconds")).to_contain_text("s")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#seconds")).to_contain_text("s")
    page.click("#log-out")
    expect(page.locator("[name=password]")).to_be_visible()
    expect(other.locator("#message")).to_have_text("You have been logged out.")
    expect(other.locator("#seconds")).to_have_text("")
    other.click("#log-out")
    expect(other.locator("[name=password]")).to_be_visible()
    for tab in (page, other):
        tab.close()
    assert all("401" in refused for refused in console.take())


def test_a_job_that_survives_a_reload(open_example: Open) -> None:
    page = open_example("how-to/job.md")
    page.click("#start")
    expect(page.locator("#out")).to_contain_text("of 100")
    page.reload()
    expect(page.locator("#out")).to_contain_text("of 100")
    expect(page.locator("#start")).to_be_disabled()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#out")).to_contain_text("of 100")
    other.click("#stop")
    for seen in (page, other):
        expect(seen.locator("#out")).to_have_text("no job")
