"""What all tests need of the process that they run in."""

from __future__ import annotations

import signal

from tests.support.global_callbacks import forget_global_callbacks


def pytest_configure() -> None:
    """A shell has its background jobs ignore Ctrl-C, and so would the programs that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Forget the callbacks that test modules declare without an app when they are imported.

    The first app of the process would take them, in whichever test that happens to be.
    """
    forget_global_callbacks()
