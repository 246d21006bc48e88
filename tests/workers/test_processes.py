"""Requests that find their holder among real processes: `flash run --workers 3`, and a browser in front of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Browser, expect

from flash.asgi.tokens import new_token
from flash.wire import LIFE_HEADER
from flash.workers.sending_on import SEARCH_TIMEOUT
from tests.faults.sockets import Page, Site, flash_run, serving
from tests.support.browser import chromium as chromium
from tests.support.eventually import eventually, eventually_sync
from tests.support.http1 import ConnectionLost, Http1
from tests.support.link import Link
from tests.support.processes import ROOT, python, running
from tests.support.redis_server import RedisServer
from tests.support.wire_client import Post

APP = """
import os
import time

import diskcache
import trio
from quart import request

from flash import CeleryManager, DiskcacheManager, Flash, Input, Output, Patch, html, stream_props

if "REDIS_URL" in os.environ:
    from celery import Celery

    celery = Celery("served", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
    manager = CeleryManager(celery)
else:
    manager = DiskcacheManager(diskcache.Cache("cache"))


async def user_of(request):
    return request.headers.get("X-User")


app = Flash(
    __name__, reconnect_grace=GRACE, metrics=True, identify=user_of, background_callback_manager=manager
)
app.layout = html.Div(
    [html.Button(name, id=name) for name in ("go", "stop", "list", "background", "halt")]
    + [html.Pre(id=name) for name in ("out", "listed", "progress", "done")]
)
app.server.config["PROPAGATE_EXCEPTIONS"] = False


def note(*what):
    with open("log", "a") as log:
        log.write(" ".join(str(part) for part in what) + "\\n")


@app.server.before_request
async def hook():
    if "_flash/" in request.path or request.method == "POST":
        note("hook", os.getpid(), request.path, request.headers.get("Cookie", "-").rpartition("=")[2])


@app.server.after_request
async def close(response):
    # Each request of a real browser has a connection of its own, and so comes to whichever worker.
    if "Sec-Fetch-Mode" in request.headers and response.mimetype != "text/event-stream":
        response.headers["Connection"] = "close"
    return response


@app.server.before_websocket
async def websocket_hook():
    note("websocket", os.getpid())


@app.event_callback(
    Input("go", "n_clicks"),
    cancel=[Input("stop", "n_clicks")],
    reset_props=[("out", {"title": "reset"})],
    on_error=lambda error: note("on_error", os.getpid(), getattr(error, "reason", error)),
    prevent_initial_call=True,
)
async def count(clicks):
    number = 0
    while True:
        yield stream_props("out", {"children": f"{os.getpid()} {clicks} {number}"})
        number += 1
        await trio.sleep(0.02)


@app.callback(Output("listed", "children"), Input("list", "n_clicks"), prevent_initial_call=True)
async def listed(clicks):
    for number in range(3):
        yield f"part {number}"
        await trio.sleep(0.02)


@app.callback(
    Output("done", "children"),
    Input("background", "n_clicks"),
    background=True,
    progress=Output("progress", "children"),
    cancel=[Input("halt", "n_clicks")],
    interval=100,
    prevent_initial_call=True,
)
def background(set_progress, clicks):
    note("background", os.getpid())
    set_progress("half way")
    while clicks > 1 or not os.path.exists("go on"):
        time.sleep(0.02)
    return "done"


@app.server.route("/pid")
async def pid():
    return str(os.getpid())


@app.server.route("/end/<user>")
def end(user):
    return {"ended": app.end_streams("count", user=user, why="the test says so")}


@app.server.route("/all-streams")
async def all_streams():
    return {"all": len(await app.all_streams()), "here": len(app.streams())}
"""

WORKERS = ("--workers", "3", "--graceful-timeout", "5")


def source(grace: float = 0.5) -> str:
    return APP.replace("GRACE", str(grace))


async def connection_to(site: Site, wanted: Callable[[int], bool]) -> tuple[trio.SocketStream, Http1, int]:
    """A connection to a worker whose process id is as wanted."""
    while True:
        stream = await site.open()
        http = Http1(stream)
        # A worker that was just killed may be given one more connection, which is lost. A browser tries again, too.
        with contextlib.suppress(ConnectionLost, trio.BrokenResourceError):
            await http.send("GET", "/pid")
            pid = int((await http.answer()).text)
            if wanted(pid):
                return stream, http, pid


async def send(http: Http1, page: Page, post: Post) -> None:
    """Send a request of a page over this connection, and do not wait for the answer."""
    length = ("Content-Length", str(len(post.body)))
    await http.send("POST", post.target, [*page.headers, *post.headers, length], post.body)


async def link_by(page: Page, wanted: Callable[[int], bool], after: str = "") -> tuple[Link, int]:
    """A link of a page over a connection to a worker that is as wanted; and that worker's process id."""
    _, http, pid = await connection_to(page.site, wanted)
    return await page.connect(after=after, over=http), pid


def anybody(pid: int) -> bool:
    return True


def log(folder: Path) -> list[list[str]]:
    """What the app has noted."""
    return [line.split() for line in (folder / "log").read_text().splitlines()]


async def holder_of(page: Page, events: Link) -> int:
    """The process id of the worker that runs the page's stream."""
    (value,) = await events.numbers(1)
    return int(value.split()[0])


async def test_the_contract_holds_when_each_request_lands_on_whichever_worker(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=source()) as (_, site):
        await check_contract(site, tmp_path)
        await check_all_streams(site)
        await check_end_streams(site)
        await check_first_requests(site, tmp_path)


async def check_contract(site: Site, folder: Path) -> None:
    """Pages start, supersede, cancel and leave, and each request lands on whichever worker."""

    async def visit() -> None:
        page = await site.page()
        events, _ = await link_by(page, anybody)
        # Each request has a connection of its own, and so comes to each worker in turn.
        stream = ""
        for round_ in range(3):
            await page.begin(value=round_ + 1)
            if round_:
                ended = await events.until("end")
                assert ended["reason"] == "superseded"
                assert ended["props"][0] == ["out", {"title": "reset"}]
            stream = (await events.until("open"))["stream"]
            await events.numbers(3)
            assert (await page.acknowledge(events.applied)).status == 204
        assert (await page.cancel(stream)).status == 204
        assert (await events.until("end"))["reason"] == "cancelled"
        await page.begin(value=9)
        await events.until("open")
        assert (await page.leave()).status == 204
        assert [event.data["reason"] for event in await events.rest() if event.name == "end"] in ([], ["disconnected"])

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(visit)
    await eventually(lambda: sum(line[0] == "on_error" for line in log(folder)) == 24)
    reasons = Counter(line[2] for line in log(folder) if line[0] == "on_error")
    assert reasons == {"superseded": 12, "cancelled": 6, "disconnected": 6}
    by_browser: dict[str, set[str]] = {}
    hooks: Counter[str] = Counter()
    for kind, pid, *rest in log(folder):
        if kind == "hook":
            by_browser.setdefault(rest[1], set()).add(pid)
            hooks[rest[0]] += 1
    assert [len(pids) for browser, pids in by_browser.items() if browser != "-"] == [1] * 6
    assert len({pid for pids in by_browser.values() for pid in pids}) > 1, "browsers are spread over the workers"
    # One hook for each request, however many workers it has passed.
    assert hooks["/_dash-update-component"] == 6 * 4
    assert hooks["/_flash/cancel"] == hooks["/_flash/close"] == hooks["/_flash/events"] == 6
    await eventually(lambda: is_all_quiet(site))


async def is_all_quiet(site: Site) -> bool:
    health = (await site.get("/_flash/health")).json()
    return (health["status"], health["pages"], health["streams"]) == ("ok", 0, 0)


async def has_streams(site: Site, count: int) -> bool:
    return (await site.get("/all-streams")).json()["all"] == count


async def check_end_streams(site: Site) -> None:
    """Any worker ends the streams of one user on all of them, and nobody else's."""
    pages = {await site.page(): user for user in ("ada", "eve") * 3}
    links: dict[str, list[Link]] = {"ada": [], "eve": []}
    for page, user in pages.items():
        page.more_headers = [("X-User", user)]
        links[user].append((await link_by(page, anybody))[0])
        await page.begin(value=1)
        await links[user][-1].until("open")
    for user, left in (("ada", 3), ("eve", 0)):
        assert (await site.get(f"/end/{user}")).json() == {"ended": 3}
        for link in links[user]:
            assert (await link.until("end"))["reason"] == "revoked"
        await eventually(partial(has_streams, site, left))
    for page in pages:
        await page.leave()
    await eventually(lambda: is_all_quiet(site))


async def check_all_streams(site: Site, workers: int = 3) -> None:
    """Any worker tells of the streams, the health and the metrics of all of them."""
    pages = [await site.page() for _ in range(6)]
    links = [await link_by(page, anybody) for page in pages]
    for page, (events, _) in zip(pages, links, strict=True):
        await page.begin()
        await events.until("open")
    said = [(await site.get("/all-streams")).json() for _ in range(6)]
    assert [each["all"] for each in said] == [6] * 6
    assert max(each["here"] for each in said) < 6
    health = (await site.get("/_flash/health")).json()
    assert len(health["workers"]) == workers
    assert (health["streams"], health["pages"]) == (6, 6)
    metrics = (await site.get("/_flash/metrics")).text
    assert sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("flash_streams{")) == 6
    for page, (events, _) in zip(pages, links, strict=True):
        await page.leave()
        await events.close()
    await eventually(lambda: is_all_quiet(site))


async def check_first_requests(site: Site, folder: Path) -> None:
    """Two workers get the first requests of one browser at once, many times: one of them runs both streams."""
    (folder / "log").unlink()
    first, one, pid = await connection_to(site, anybody)
    second, two, _ = await connection_to(site, lambda other: other != pid)
    for _ in range(200):
        page = await site.page(new_token())
        tabs = (page, await site.page(page.browser))
        for http, tab in zip((one, two), tabs, strict=True):
            await send(http, tab, tab.start_post())
        assert [(await http.answer()).status for http in (one, two)] == [204, 204]
        for http, tab in zip((one, two), tabs, strict=True):
            await send(http, tab, tab.identity.leave())
            assert (await http.answer()).status == 204
    answered: dict[str, list[str]] = {}
    for kind, worker, path, browser in (line for line in log(folder) if line[0] == "hook"):
        if (kind, path) == ("hook", "/_dash-update-component"):
            answered.setdefault(browser, []).append(worker)
    assert len(answered) == 200
    assert {(len(workers), len(set(workers))) for workers in answered.values()} == {(2, 1)}
    await first.aclose()
    await second.aclose()


async def test_a_killed_holder_ends_its_own_pages_and_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=source(grace=3)) as (_, site):
        page = await site.page()
        tab = await site.page(page.browser)
        own, holder = await link_by(tab, anybody)
        sent_on, by = await link_by(page, lambda pid: pid != holder)
        await page.begin()
        assert await holder_of(page, sent_on) == holder
        # Another browser, held by the worker that the link above passes, or by the third.
        other = await site.page()
        others, _ = await link_by(other, lambda pid: pid != holder)
        await other.begin()
        await others.numbers(1)
        os.kill(holder, signal.SIGKILL)
        killed = time.monotonic()
        await sent_on.rest()
        await own.rest()
        again, _ = await link_by(page, lambda pid: pid == by)
        await page.begin()
        assert await holder_of(page, again) == by
        assert time.monotonic() - killed < SEARCH_TIMEOUT, "nobody has waited for the dead one"
        before = int((await others.numbers(1))[0].split()[2])
        numbers = [int(value.split()[2]) for value in await others.numbers(20)]
        assert numbers == list(range(before + 1, before + 21))


async def test_a_killed_worker_that_a_link_has_only_come_to_costs_neither_it_nor_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=source(grace=3)) as (_, site):
        page = await site.page()
        tab = await site.page(page.browser)
        _, holder = await link_by(tab, anybody)
        events, by = await link_by(page, lambda pid: pid != holder)
        await page.begin()
        numbers = [int(value.split()[2]) for value in await events.numbers(5)]
        os.kill(by, signal.SIGKILL)
        await eventually(lambda: not runs(by))
        numbers += [int(value.split()[2]) for value in await events.numbers(20)]
        assert numbers == list(range(len(numbers))), "numbered updates: none lost, none twice"
        assert [line for line in log(tmp_path) if line[0] == "on_error"] == []


def jobs(folder: Path) -> list[int]:
    """The process ids of the jobs of the background callback, in order."""
    return [int(line[1]) for line in log(folder) if line[0] == "background"]


def runs(pid: int) -> bool:
    """Whether a process runs, and does not only wait for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


@contextlib.contextmanager
def celery_worker(folder: Path) -> Generator[dict[str, str]]:
    """A Redis, and a Celery worker for the app in a folder, while the block runs: the environment of its server."""
    with RedisServer.started(folder) as redis:
        environment = {"REDIS_URL": redis.url}
        quick = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency", "2")
        command = (sys.executable, "-m", "celery", "-A", "served:celery", "worker", "--loglevel", "INFO", *quick)
        with running(command, folder, environment | {"PYTHONPATH": str(ROOT)}) as process:
            process.wait_for(lambda: " ready." in process.output, "the worker is ready")
            yield environment


@pytest.mark.parametrize("manager", ["diskcache", "celery"])
def test_a_browser_has_streams_background_callbacks_and_streaming_callbacks(
    manager: str, tmp_path: Path, chromium: Browser
) -> None:
    (tmp_path / "served.py").write_text(source())
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(celery_worker(tmp_path)) if manager == "celery" else {}
        process = stack.enter_context(python(tmp_path, *flash_run(*WORKERS), environment=environment))
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{process.wait_for_port()}/")
        page.click("#go")
        expect(page.locator("#out")).to_contain_text(" 1 ")
        page.click("#go")
        expect(page.locator("#out")).to_contain_text(" 2 ")
        page.click("#list")
        expect(page.locator("#listed")).to_have_text("part 2")
        page.click("#background")
        expect(page.locator("#progress")).to_have_text("half way")
        (tmp_path / "go on").touch()
        expect(page.locator("#done")).to_have_text("done")
        page.click("#background")
        eventually_sync(lambda: len(jobs(tmp_path)) == 2)
        assert runs(jobs(tmp_path)[1])

        def halt() -> bool:
            # A click cancels the job only once the page has been told of it.
            page.click("#halt")
            page.wait_for_timeout(100)
            return not runs(jobs(tmp_path)[1])

        eventually_sync(halt, "the job is over")
        page.click("#stop")
        expect(page.locator("#out")).to_have_attribute("title", "reset")
        page.close()
    assert len({line[1] for line in log(tmp_path) if line[0] == "hook"}) > 1


ALONE = """
import os

import trio

from flash import Flash, Input, Output, html, stream_props

app = Flash(__name__, start_timeout=1)
app.layout = [html.Button("go", id="go"), html.Div(id="out"), html.Div(id="error")]


@app.server.after_request
async def close(response):
    if response.mimetype != "text/event-stream":
        response.headers["Connection"] = "close"
    return response


@app.event_callback(Input("go", "n_clicks"), prevent_initial_call=True)
async def count(clicks):
    yield stream_props("out", {"children": f"{clicks}"})
    await trio.sleep_forever()


@app.callback(Output("error", "children"), Input(count, "error"))
async def show(error):
    return error
"""


def test_without_a_supervisor_the_page_and_the_log_name_what_helps(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "served.py").write_text(ALONE)
    with python(tmp_path, "-m", "hypercorn", "-k", "trio", "-w", "2", "-b", "127.0.0.1:0", "served:app") as process:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{process.wait_for_port()}/")
        page.wait_for_selector("#go")
        lives: set[str] = set()
        running = re.compile(r"\[(\d+)\] \[INFO\] Running on")
        process.wait_for(lambda: len(running.findall(process.output)) == 2, "both serve")
        for stopped in running.findall(process.output) * 5:
            # Of two processes that wait for connections, the one that stands still accepts none.
            os.kill(int(stopped), signal.SIGSTOP)
            # But it may have accepted the one that the browser takes for the request.
            going_on = threading.Timer(1, os.kill, (int(stopped), signal.SIGCONT))
            going_on.start()
            with page.expect_response(lambda response: LIFE_HEADER.lower() in response.headers) as answered:
                page.click("#go")
            lives.add(answered.value.headers[LIFE_HEADER.lower()])
            going_on.cancel()
            going_on.join()
            os.kill(int(stopped), signal.SIGCONT)
            if len(lives) == 2:
                break
        # One of the two lives is the link's.
        assert len(lives) == 2
        expect(page.locator("#error")).to_contain_text("`flash run --workers N`")
        expect(page.locator("#error")).to_contain_text("Redis")
        process.wait_for(lambda: "no connection to this process" in process.output, "it warns")
        page.close()
        warning = next(line for line in process.output.splitlines() if "no connection to this process" in line)
        assert "`flash run --workers N`" in warning
        assert "Redis" in warning
