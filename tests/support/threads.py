"""Run a server or a proxy of a test on Trio in a thread of its own, beside a test that is not on Trio."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Generator

import trio

from tests.support.eventually import TIMEOUT


@contextlib.contextmanager
def running_in_thread(
    name: str, main: Callable[[threading.Event], Awaitable[None]], stop: Callable[[], None]
) -> Generator[None]:
    """Run `main` while the block runs; raise what it raises, and check that its thread ends.

    Args:
        name: says in a failure what it is, such as "server".
        main: an async function, which sets the event it is given when it is ready.
        stop: makes `main` return; called in the test's thread.
    """
    ready, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            trio.run(main, ready)
        except BaseException as failure:
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=f"the {name} of a test", daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT), f"the {name} did not start"
    try:
        if not failures:
            yield
    finally:
        if not failures:
            stop()
        thread.join(TIMEOUT)
    if failures:
        raise failures[0]
    assert not thread.is_alive(), f"the {name} did not stop"
