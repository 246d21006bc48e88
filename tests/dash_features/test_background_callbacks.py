"""Background callbacks, in a real browser, with real managers: Diskcache, and Celery with a Redis and a worker."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import diskcache
import psutil
import pytest

from flash import DiskcacheManager, Flash
from tests.support import connections
from tests.support.eventually import TIMEOUT, eventually_sync
from tests.support.processes import running
from tests.support.redis_server import RedisServer

NAMES = ("tests.dash_features.background_app", "tests.dash_features.celery_worker")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FLASH_TEST_FOLDER", str(tmp_path))
    yield tmp_path
    for name in NAMES:
        sys.modules.pop(name, None)


def drive(dash_duo: Any, app: Any, folder: Path, port: int) -> None:
    """Go through everything that a background callback may do.

    The server is a process of its own: Diskcache and Celery leave connections open in its threads.
    """
    dash_duo.start_server(app, start_timeout=TIMEOUT, port=port)
    dash_duo.find_element("#plain").click()
    dash_duo.wait_for_element("#plain:disabled", TIMEOUT)
    dash_duo.wait_for_text_to_equal("#progress", "half way", TIMEOUT)
    assert dash_duo.find_element("#out").text == ""
    (folder / "go on").touch()
    dash_duo.wait_for_text_to_equal("#out", "plain 1", TIMEOUT)
    dash_duo.wait_for_element("#plain:enabled", TIMEOUT)
    dash_duo.find_element("#async").click()
    dash_duo.wait_for_text_to_equal("#async-out", "async 1", TIMEOUT)
    dash_duo.find_element("#fail").click()
    text = "handled: An error occurred inside a background callback: on purpose"
    dash_duo.wait_for_text_to_equal("#failed", text, TIMEOUT)
    dash_duo.find_element("#endless").click()
    dash_duo.wait_for_text_to_equal("#status", "running", TIMEOUT)
    dash_duo.wait_for_text_to_equal("#aside", "by endless", TIMEOUT)
    eventually_sync(lambda: (folder / "process").exists() and (folder / "process").read_text() != "")
    dash_duo.find_element("#stop").click()
    dash_duo.wait_for_text_to_equal("#status", "over", TIMEOUT)
    eventually_sync(lambda: is_over(int((folder / "process").read_text())))
    assert dash_duo.find_element("#endless-out").text == ""
    assert dash_duo.get_logs() == []


def is_over(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_background_callbacks_with_diskcache(dash_duo_mp: Any, folder: Path, free_port: int) -> None:
    with diskcache.Cache(str(folder / "cache")) as cache:
        app = importlib.import_module(NAMES[0]).make_app(DiskcacheManager(cache))
    drive(dash_duo_mp, app, folder, port=free_port)
    # Its process is a fork of the server's, and yet stops at signals as any other does.
    (folder / "process").unlink()
    dash_duo_mp.find_element("#endless").click()
    eventually_sync(lambda: (folder / "process").exists() and (folder / "process").read_text() != "")
    process = int((folder / "process").read_text())
    os.kill(process, signal.SIGTERM)
    eventually_sync(lambda: is_over(process))


@pytest.mark.usefixtures("celery_worker")
def test_background_callbacks_with_celery(dash_duo_mp: Any, folder: Path, free_port: int) -> None:
    drive(dash_duo_mp, importlib.import_module(NAMES[1]).app, folder, port=free_port)


class RacingManager(DiskcacheManager):
    """One whose processes all come to an empty store: each reads what it has written itself."""

    def __init__(self) -> None: ...

    def get_or_create_signing_secret(self, generate: Callable[[], bytes]) -> bytes:
        return generate()


class StuckManager(RacingManager):
    def get_or_create_signing_secret(self, generate: Callable[[], bytes]) -> bytes:
        raise ConnectionError("It is away.")


@pytest.mark.parametrize("manager", [RacingManager, StuckManager])
def test_processes_of_one_app_know_what_each_other_has_signed(manager: type[RacingManager]) -> None:
    def secret(seed: str) -> bytes:
        app = Flash("background_app", background_callback_manager=manager())
        if seed:
            app.share_signing_secret(seed)
        return cast("Any", app)._get_signing_secret()

    assert secret("of a supervisor") == secret("of a supervisor")
    assert len({secret("of a supervisor"), secret("of another"), secret(""), secret("")}) == 4


@pytest.fixture
def free_port() -> int:
    return connections.free_port()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with RedisServer.started(tmp_path) as redis:
        yield redis.url


@pytest.fixture
def celery_worker(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", redis_url)
    quick = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    arguments = ["-A", f"{NAMES[1]}:celery", "worker", "--concurrency", "2", "--loglevel", "INFO", *quick]
    with running([sys.executable, "-m", "celery", *arguments], Path.cwd()) as process:
        process.wait_for(lambda: " ready." in process.output, "the worker is ready")
        yield
