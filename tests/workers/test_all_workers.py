"""What any worker says of all of them: streams, health and metrics."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from flash import EndReason, StreamInfo, Update, stream_props
from flash.server.all_workers import join_health
from flash.workers import peers
from flash.workers.directory import browser_key
from tests.http.pages import Page
from tests.support.eventually import eventually
from tests.workers.apps import CountingApp
from tests.workers.conftest import StartFleet, Worker


async def running(worker: Worker, user: str = "") -> Page:
    """A page with a stream on this worker."""
    page = await worker.server.page()
    page.client.headers["X-User"] = user
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    return page


async def hang(connection: object, head: object) -> None:
    """Answers nothing for ever."""
    await trio.sleep_forever()


async def test_streams_of_all_workers_are_listed_by_any_the_oldest_first(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 3)
    pages = [await running(worker) for worker in workers]
    for worker in workers:
        streams = await worker.app.all_streams()
        assert [info.page for info in streams] == [page.token[: len(streams[0].page)] for page in pages]
        assert len(worker.app.streams()) == 1


async def test_the_inspector_of_any_worker_shows_what_all_of_them_run(fleet: StartFleet) -> None:
    workers = await fleet(lambda: CountingApp(inspect=lambda request: True), 3)
    pages = [await running(worker) for worker in workers[:2]]
    found = await workers[2].app.all_workers.snapshots()
    shown = {
        name: [page["page"] for browser in (snapshot or {})["browsers"] for page in browser["pages"]]
        for name, snapshot in found.items()
    }
    assert shown == {
        "Worker 1": [pages[0].token[:8]],
        "Worker 2": [pages[1].token[:8]],
        "Worker 3": [],
    }


async def test_streams_of_all_workers_end_from_any(fleet: StartFleet) -> None:
    workers = await fleet(lambda: CountingApp(identify=lambda request: request.headers["X-User"]), 3)
    for worker in workers:
        for user in ("ada", "eve"):
            await running(worker, user)
    page = workers[0].app.streams()[0].page
    assert workers[1].app.end_streams(page=page) == 0, "on the event loop it ends its own"
    assert await workers[1].app.end_all_streams(page=page) == 1
    assert await workers[2].app.end_all_streams("CountingApp.count", user="ada", where=lambda info: info.age < 60) == 2
    # In a thread it ends those of all, and calls the function there.
    threads: list[object] = []

    def end() -> int:
        here = threading.current_thread()
        return workers[0].app.end_streams(where=lambda info: threads.append(here is threading.current_thread()) is None)

    assert [info.user for info in await workers[0].app.all_streams() if info.state == "running"] == ["eve"] * 3
    assert await trio.to_thread.run_sync(end) == 3
    assert all(threads)
    await eventually(lambda: [worker.app.ended for worker in workers] == [[EndReason.REVOKED] * 2] * 3)


async def test_a_page_that_was_away_is_told_by_whichever_worker_it_comes_back_to(fleet: StartFleet) -> None:
    workers = await fleet(lambda: CountingApp(reconnect_grace=0.05), 3)
    page = await workers[0].server.page()
    link = await page.connect()
    await page.start("go")
    stream = (await link.expect("open"))["stream"]
    assert await workers[1].app.end_all_streams("CountingApp.count") == 1
    await link.close()
    await eventually(lambda: len(workers[0].app.channels) == 0)
    await eventually(lambda: browser_key(page.cookie) not in workers[0].peers.holdings)
    link = await workers[2].page(page).connect()
    while link.hello is None:
        await link.next_of_all()
    assert link.hello.data["revoked"] == [stream]


async def test_nothing_ends_on_any_worker_if_the_function_raises(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    for worker in workers:
        await running(worker)

    def where(info: StreamInfo) -> bool:
        if info.page == workers[1].app.streams()[0].page:
            raise ValueError("the second")
        return True

    with pytest.raises(ValueError, match="the second"):
        await workers[0].app.end_all_streams(where=where)
    assert [info.state for worker in workers for info in worker.app.streams()] == ["running"] * 2


async def test_a_stream_that_ends_all_streams_reaches_other_workers_though_it_ends_itself(fleet: StartFleet) -> None:
    class Last(CountingApp):
        async def count(self, clicks: int) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": clicks})
            if clicks == 2:
                await self.end_all_streams(where=lambda info: True)
            await trio.sleep_forever()

    workers = await fleet(Last, 3)
    for worker in workers[1:]:
        await running(worker)
    page = await running(workers[0])
    await page.start("go", value=2)
    await eventually(lambda: all(worker.app.ended for worker in workers))
    await eventually(lambda: not any(worker.app.streams() for worker in workers))
    assert [worker.app.ended[-1] for worker in workers] == [EndReason.REVOKED] * 3


async def test_a_worker_that_does_not_end_its_streams_is_an_error(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers, "ANSWER_TIMEOUT", 0.1)
    workers = await fleet(CountingApp, 2)
    for worker in workers:
        await running(worker)
    workers[1].peers._answer = hang
    assert await workers[0].app.end_all_streams("CountingApp.count") == 1
    assert "Worker 2 was to end streams, and does not answer: those that it has may go on." in caplog.text


async def test_one_process_lists_its_own_streams(fleet: StartFleet) -> None:
    (worker,) = await fleet(CountingApp, 1)
    await running(worker)
    worker.app.all_workers.peers = None
    (alone,) = await worker.app.all_streams()
    assert alone.id == worker.app.streams()[0].id


async def test_health_is_that_of_all_workers(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    pages = [await running(worker) for worker in workers]
    answer = await pages[0].get("_flash/health")
    assert answer.status_code == 200
    each = {"status": "ok", "pages": 1, "streams": 1}
    assert answer.json() == {"status": "ok", "pages": 2, "streams": 2, "workers": {"1": each, "2": each}}
    workers[0].app.channels.closing = True
    answer = await pages[0].get("_flash/health")
    assert answer.status_code == 200, "another worker accepts pages"
    assert answer.json()["workers"]["1"]["status"] == "stopping"
    workers[1].app.channels.closing = True
    answer = await pages[1].get("_flash/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


def test_a_worker_that_does_not_answer_is_named_in_the_health() -> None:
    own = {"status": "ok", "pages": 2, "streams": 3}
    joined = join_health({"1": own, "2": None}, "1", "ok")
    assert joined == {"status": "ok", "pages": 2, "streams": 3, "workers": {"1": own, "2": {"status": "no answer"}}}


def test_the_health_of_a_machine_is_not_that_of_others() -> None:
    answers = {
        "10.0.0.5:8051/1": {"status": "stopping", "pages": 1, "streams": 1},
        "10.0.0.5:8051/2": {"status": "stopping", "pages": 0, "streams": 0},
        "10.0.0.6:8051/1": {"status": "ok", "pages": 2, "streams": 3},
    }
    joined = [join_health(answers, name, str(answer["status"])) for name, answer in answers.items()]
    assert [(each["status"], each["pages"], each["streams"]) for each in joined] == [
        ("stopping", 3, 4),
        ("stopping", 3, 4),
        ("ok", 3, 4),
    ]


async def test_a_worker_that_is_stuck_holds_nobody_up_for_long(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers, "ANSWER_TIMEOUT", 0.1)
    workers = await fleet(CountingApp, 2)
    await running(workers[0])
    workers[1].peers._answer = hang
    with caplog.at_level(logging.WARNING):
        assert len(await workers[0].app.all_streams()) == 1
    assert "Of worker 2 there is nothing to be known" in caplog.text


async def test_metrics_are_those_of_all_workers_each_with_its_name(fleet: StartFleet) -> None:
    workers = await fleet(lambda: CountingApp(metrics=True), 2)
    pages = [await running(worker) for worker in workers]
    await eventually(lambda: all(worker.app.streams()[0].updates > 0 for worker in workers))
    exposed = (await pages[1].get("_flash/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    started = families["flash_streams_started"]
    assert started.type == "counter"
    assert {
        (sample.labels["worker"], sample.value) for sample in started.samples if sample.name.endswith("_total")
    } == {("1", 1), ("2", 1)}
    assert {sample.labels["worker"]: sample.value for sample in families["flash_worker_up"].samples} == {"1": 1, "2": 1}
    assert families["flash_first_update_seconds"].type == "histogram"
