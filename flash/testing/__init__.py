"""Tests apps without a browser, a server or a plug-in, in virtual time.

    def test_one_line():
        assert collect(clock, 1, seconds=1) == [{"progress": {"children": f"tick {n}"}} for n in range(3)]

    def test_stop():
        with open_page(app) as page:
            run = page.click("start")
            page.elapse(10)
            page.set("tabs", value="settings")
            assert run.end().reason == "cancelled"

These are plain functions, for any test runner. Trio runs in a thread of its own, on a clock that only the test moves.
What runs there is the real thing: the app, its callbacks and its streams; only the network and the browser are missing.
`flash.testing.trio` has the same for tests that are async.

The submodules of `dash.testing` are reachable here, too, as with every package of Dash.
"""

from __future__ import annotations

from dash.testing import ignore_register_page as ignore_register_page

from .page_streams import End
from .runs import Component
from .sync import Page, Run, check_cancellation, collect, open_page

__all__ = ["Component", "End", "Page", "Run", "check_cancellation", "collect", "open_page"]
