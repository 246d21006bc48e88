"""Feeds over several workers: each has one run for the same arguments, and none minds what becomes of the others."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.sockets import Page, Site, serving
from tests.support.eventually import eventually
from tests.support.link import Link
from tests.support.processes import Process

APP = """
import os

import trio

from flash import Flash, Input, State, cleanup, feed, html, stream_props

app = Flash(__name__)
app.layout = [html.Button(id="go"), html.Div(id="name"), html.Div(id="out")]


def note(what):
    with open("log", "a") as log:
        log.write(f"{what} {os.getpid()}\\n")


@feed(linger=60)
async def numbers(name):
    note(f"begin {name}")
    try:
        number = 0
        while True:
            yield number
            number += 1
            await trio.sleep(0.05)
    finally:
        with cleanup():
            await trio.sleep(0.05)
        note(f"end {name}")


@app.event_callback(Input("go", "n_clicks"), State("name", "children"))
async def follow(clicks, name):
    async with numbers(name) as values:
        async for value in values:
            yield stream_props("out", {"children": [os.getpid(), value]})
"""


@dataclass
class Wall:
    """A page that follows a feed.

    Attributes:
        page: the page.
        link: its link.
        pid: the process in which it follows.
    """

    page: Page
    link: Link
    pid: int

    async def next(self) -> int:
        """The next number that it is shown."""
        [[_, props]] = (await self.link.until("props"))["props"]
        pid, number = props["children"]
        assert pid == self.pid
        return number


async def follow(site: Site, name: str) -> Wall:
    page = await site.page()
    link = await page.connect()
    page.set("name", children=name)
    await page.begin()
    [[_, props]] = (await link.until("props"))["props"]
    return Wall(page, link, props["children"][0])


async def walls_of_both(site: Site, name: str) -> list[Wall]:
    """Pages that follow the same feed, at least two in each of two workers."""
    walls: list[Wall] = []
    while len(count := Counter(wall.pid for wall in walls)) < 2 or min(count.values()) < 2:
        walls.append(await follow(site, name))
    return walls


@asynccontextmanager
async def walls(folder: Path) -> AsyncGenerator[tuple[Process, Site]]:
    async with serving(folder, "--workers", "2", "--graceful-timeout", "5", source=APP) as (process, site):
        yield process, site


def log_of(folder: Path) -> Counter[str]:
    return Counter((folder / "log").read_text().splitlines())


async def test_each_worker_has_one_run_and_a_worker_that_is_killed_ends_no_other(tmp_path: Path) -> None:
    async with walls(tmp_path) as (_, site):
        following = await walls_of_both(site, "KELP")
        other = await follow(site, "ROSES")
        pids = {wall.pid for wall in following}
        begun = {f"begin KELP {pid}": 1 for pid in pids} | {f"begin ROSES {other.pid}": 1}
        assert log_of(tmp_path) == begun
        gone = next(pid for pid in pids if pid != other.pid)
        os.kill(gone, signal.SIGKILL)
        stay = [wall for wall in (*following, other) if wall.pid != gone]
        for wall in stay:
            before = await wall.next()
            assert await wall.next() > before
        # Whoever comes now follows the same runs, or that of the worker that was started in its place.
        again = await walls_of_both(site, "KELP")
        new = {wall.pid for wall in again} - pids
        assert log_of(tmp_path) == begun | {f"begin KELP {pid}": 1 for pid in new}


async def test_new_code_has_runs_of_its_own_and_those_of_the_old_code_unwind(tmp_path: Path) -> None:
    async with walls(tmp_path) as (process, site):
        following = await walls_of_both(site, "KELP")
        old = {wall.pid for wall in following}
        process.send(signal.SIGHUP)
        for wall in following:
            assert (await wall.link.until("end"))["reason"] == "shutdown"
        ends = {f"end KELP {pid}": 1 for pid in old}
        begun = {f"begin KELP {pid}": 1 for pid in old}
        await eventually(lambda: log_of(tmp_path) == begun | ends)
        again = await walls_of_both(site, "KELP")
        new = {wall.pid for wall in again}
        assert not new & old
        assert log_of(tmp_path) == begun | ends | {f"begin KELP {pid}": 1 for pid in new}
