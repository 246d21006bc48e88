"""A Flask app that several workers serve: a request that is sent on passes the hooks once, where its page is held."""

from __future__ import annotations

import pytest

from tests.flask_apps.guarded_app import GuardedApp
from tests.support.eventually import eventually
from tests.websocket.controls import open_control
from tests.websocket.sockets import Connect
from tests.workers.conftest import StartFleet, on_two_machines


@on_two_machines
async def test_the_hooks_run_once_and_on_the_holder(fleet: StartFleet, connect: Connect) -> None:
    workers = await fleet(GuardedApp, 2)
    apps: list[GuardedApp] = [worker.app for worker in workers if isinstance(worker.app, GuardedApp)]
    page = await workers[0].server.page()
    link = await page.connect()
    elsewhere = workers[1].page(page)
    for app in apps:
        app.seen.clear()
    started = await elsewhere.start("go")
    assert (started.status_code, started.cookies["signed"]) == (204, "204")
    opened = await link.expect("open")
    control = await open_control(connect, elsewhere)
    await elsewhere.cancel(opened["stream"], 0, 1)
    assert (await link.to_end())[1]["reason"] == "cancelled"
    assert await control.tell("ack", {"number": 0}) is not None
    assert [path for _, path in apps[0].seen] == [
        "/_dash-update-component",
        "/_flash/control",
        "/_flash/cancel",
        "/_flash/ack",
    ]
    assert apps[1].seen == []
    await eventually(lambda: apps[0].torn_down > 0)


@pytest.mark.parametrize("refusing", [0, 1])
async def test_who_is_refused_on_the_holder_gets_no_stream_by_another_worker(fleet: StartFleet, refusing: int) -> None:
    workers = await fleet(GuardedApp, 2)
    page = await workers[0].server.page()
    await page.connect()
    app = workers[refusing].app
    assert isinstance(app, GuardedApp)
    app.refuses = True
    response = await workers[1].page(page).start("go")
    assert response.status_code == (401 if refusing == 0 else 204)
    assert len(workers[0].app.streams()) == refusing
    assert workers[1].app.streams() == []
