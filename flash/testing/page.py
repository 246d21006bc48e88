"""A page of an app: what its components show, and what a user does with them.

    page ── click, set ──▶ renderer ── requests ──▶ app ── link ──▶ streams ──▶ renderer ──▶ layout

The page keeps to what a browser does: `flash/client/` and Dash's renderer are the models of the modules beside this
one. Its methods are those of the async form, `flash.testing.trio`; `flash.testing` has the same without `await`.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import trio

from ..asgi.page_secret import PAGE_ID
from ..dash_json import to_json
from ..wire_messages import Cancel, Close
from .browser_profile import Browser, names_page
from .component_ids import id_of, key_of
from .dependencies import Callback
from .layout import Layout
from .own_behaviour import OwnBehaviour
from .page_link import PageLink
from .page_streams import PageStreams
from .renderer import Renderer
from .resuming import Resuming
from .runs import Component, Run
from .served_app import Response
from .stand_ins import StandIns, answer_of
from .virtual_time import VirtualTime
from .work_outside import place_of_failure


class Page:
    """One load of an app in one tab of a browser.

    Attributes:
        browser: the browser.
        pages: all pages of the app that were opened, this one included.
        is_open: it is loaded, and has not been closed.
        link: brings what its streams send.
    """

    def __init__(
        self,
        browser: Browser,
        time: VirtualTime,
        nursery: trio.Nursery,
        stand_ins: StandIns,
        pages: list[Page] | None = None,
    ) -> None:
        """
        Args:
            browser: see above.
            time: the clock.
            nursery: in which the tasks of all pages run.
            stand_ins: what is called in the place of callbacks that a page cannot call.
            pages: all pages of the app, of whatever browser.
        """
        self.browser = browser
        self.pages: list[Page] = [] if pages is None else pages
        self.pages.append(self)
        self._time = time
        self._nursery_of_pages = nursery
        self._stand_ins = stand_ins
        self._changes = 0
        self.is_open: bool = False
        self.link: PageLink

    # What a test says

    def __getitem__(self, component_id: object) -> Component:
        """A component, by its id. Raises AssertionError if the layout has none with that id."""
        found = id_of(component_id)
        props = self._layout.props(found)
        if props is None:
            there = ", ".join(key for key in self._layout.components if not key.startswith("_"))
            raise AssertionError(f"The page has no component with the id {found!r}. It has: {there}.")
        return Component(found, props, self._layout.unknown)

    def __contains__(self, component_id: object) -> bool:
        return id_of(component_id) in self._layout

    @property
    def ids(self) -> list[str]:
        """The ids of the components in the layout, those that are objects as the strings that Dash makes of them."""
        return list(self._layout.components)

    @property
    def mistakes(self) -> list[str]:
        """Sentences on what the app does wrong without an exception, as updating components that are not there."""
        return list(self._streams.mistakes)

    async def click(self, component_id: object) -> Any:
        """Click on a component: count its `n_clicks` up, and those of the HTML elements around it; follow a `dcc.Link`.

        Returns:
            The run of the stream that this has started; a list if it has started several; None if it has started none.
        """
        found = id_of(component_id)
        component = self[found]
        if component.disabled:
            raise AssertionError(f"{found!r} is disabled: nobody can click on it.")
        if self._layout.components[key_of(found)]["type"] == "Link" and component.href is not None:
            return await self._act(lambda: self._own.go(str(component.href)))
        return await self._act(lambda: self._own.click(found))

    async def set(self, component_id: object, **props: Any) -> Any:
        """Set properties of a component, as a user does who types, chooses, or moves something.

        Returns:
            As for `click`.
        """
        found = id_of(component_id)
        self[found]
        values = json.loads(to_json(props))
        return await self._act(lambda: self._renderer.set(found, values))

    async def elapse(self, seconds: float) -> None:
        """Let so many virtual seconds pass. What is due at the end of them has happened on return."""
        await self._time.advance(seconds)
        self._raise_failures()

    async def visit(self, path: str) -> Any:
        """Go to another path of the app without loading it anew, as a `dcc.Link` does; returns what `click` returns."""
        return await self._act(lambda: self._own.go(path))

    async def open_page(self, path: str = "/", *, new_browser: bool = False) -> Page:
        """Open another page of the app, in another tab of this browser, or in another browser.

        It is closed with this one, if not before.
        """
        browser = Browser(self.browser.served) if new_browser else self.browser
        page = Page(browser, self._time, self._nursery_of_pages, self._stand_ins, self.pages)
        await page.load(path)
        return page

    async def stall(self) -> None:
        """Stop reading and acknowledging what the server sends: a page that hangs. `resume` ends that."""
        self.link.stall()
        await self._settle()

    async def resume(self) -> None:
        """Read again after `stall`."""
        self.link.resume()
        await self._settle()

    async def cut(self, seconds: float) -> None:
        """Cut the page's link, and return `seconds` later, when it has opened another one."""
        self.link.cut(seconds)
        await self.elapse(seconds)

    async def server_lost(self) -> None:
        """Lose the server, without a word from it, and all that it holds; another one answers from now on.

        On return the page has a link to that one. Streams with `restart=True` start again a quarter of a second later.
        """
        served, links = self.browser.served, [page.link for page in self.pages if page.is_open]
        for link in links:
            link.lose_server()
        self._nursery_of_pages.start_soon(served.stop)
        deadline = trio.current_time() + served.shutdown_timeout
        while not served.is_over and await self._time.step(deadline):
            pass
        if not served.is_over:
            raise AssertionError(f"The server that is lost does not end: {served.running()}.")
        await self._time.run(served.start, "The start of the other server")
        for link in links:
            link.find_server()
        await self._time.step(trio.current_time())
        self._raise_failures()

    async def close(self) -> None:
        """Close the tab."""
        if not self.is_open:
            return
        self.is_open = False
        self.link.close()
        self._streams.leave()
        await self._time.run(partial(self.browser.post, Close(self._token), self._secret), "Closing the page")
        self._scope.cancel()
        await self._settle()

    async def reload(self) -> None:
        """Load the page anew, at the same address."""
        await self.close()
        await self.load(self._own.path)

    # Loading

    async def load(self, path: str) -> None:
        """Load the app in this tab."""
        path = self.browser.served.address(path)
        below = path.removeprefix(self.browser.served.config.requests_pathname_prefix)
        await self._fetch(below.partition("#")[0])
        self._layout = Layout((await self._fetch("_dash-layout")).json())
        dependencies = (await self._fetch("_dash-dependencies")).json()
        names = self._layout.props(PAGE_ID)
        self._token, self._secret = ("", "") if names is None else (names["token"], names["secret"])
        self._nursery, self._scope = await self._nursery_of_pages.start(_hold_nursery)
        self._renderer = Renderer(
            self._layout, dependencies, self._call, self._nursery, self._changed, self._can_be_called
        )
        self._stand_ins.check(self._renderer.callbacks)
        self._own = OwnBehaviour(self._layout, self._renderer, self._nursery, path)
        self._streams = PageStreams(self._renderer, self._nursery, self._cancel, self._start)
        self._resuming = Resuming(self._renderer, self._streams, self._nursery, self._start)
        self.link = PageLink(self.browser, self._token, self._secret, self._streams, self._nursery, self._resuming.ask)
        self.is_open = True
        self._to_report, changes = trio.open_memory_channel[Cancel](math.inf)
        self._nursery.start_soon(self._report, changes)
        if self._token:
            self._nursery.start_soon(self.link.run)
        self._renderer.begin()
        self._own.mount()
        self._renderer.run()
        self._resuming.begin()
        await self._settle()

    async def _fetch(self, target: str) -> Response:
        """Send a GET, and let time pass until it is answered."""
        response = await self._time.run(partial(self.browser.get, target), f"The request of {target!r}")
        if response.status != 200:
            message = f"The app has answered the request of {target!r} with {response.status}: {response.failure!r}."
            raise AssertionError(message) from response.failure
        return response

    # What the parts of the page call

    async def _call(self, callback: Callback, body: dict[str, Any]) -> dict[str, Any] | None:
        """Send the request that calls a callback."""
        stand_in = self._stand_ins.function_for(callback)
        if stand_in is not None:
            return answer_of(stand_in, callback, body)
        if callback.is_background:
            raise AssertionError(
                f"The callback of {callback.output!r} runs in the background, in a process of its own, which a page "
                "of flash.testing cannot wait for. Give open_page a function that stands in for it: "
                f"stand_ins={{{callback.output!r}: function}}."
            )
        response = await self.browser.call(body, self._secret)
        if response.status == 200:
            return response.json()
        if response.status != 204 and names_page(body) and response.failure is None:
            self._refuse_start(callback, response.text)
        elif response.status != 204:
            raise _failed(callback, response.status, response.text, response.failure)
        return None

    def _can_be_called(self, callback: Callback) -> bool:
        return not callback.is_clientside or self._stand_ins.function_for(callback) is not None

    def _refuse_start(self, callback: Callback, message: str) -> None:
        """The server has refused to start a stream: that is shown as its status."""
        for key, component in list(self._layout.components.items()):
            named = f"{key}-never" in {
                dependency.id for dependency in callback.inputs if isinstance(dependency.id, str)
            }
            outputs = {f"{key_of(dependency.id)}.{dependency.prop}" for dependency in callback.outputs}
            own = component["props"].get("output") in outputs or f"{key}.start" in outputs or named
            if component["type"] == "CallbackComponent" and own:
                self._streams.refuse({"callback_id": key, "match": None, "message": message, "status": None})

    def _cancel(self, stream: str, condition: int | str, value: Any) -> None:
        self._changes += 1
        self._to_report.send_nowait(Cancel(self._token, stream, condition, value, self._changes))

    async def _report(self, changes: trio.MemoryReceiveChannel[Cancel]) -> None:
        """Tell the server of changed properties, one after the other."""
        async for change in changes:
            await self.browser.post(change, self._secret)

    def _start(self, body: dict[str, Any]) -> None:
        self._nursery.start_soon(self.browser.call, body, self._secret)

    def _changed(self) -> None:
        self._own.mount()
        self._streams.changed()
        self._resuming.changed()

    # Time

    async def _act(self, act: Any) -> Run | list[Run] | None:
        """Do something, settle, and return the runs that it has started."""
        assert self.is_open, "This page is closed."
        await self._time.settle()
        before = len(self._streams.started)
        act()
        await self._settle()
        declared = list(self._layout.components)
        started = sorted(self._streams.started[before:], key=lambda each: declared.index(each.opening["callback_id"]))
        runs = [Run(stream, self._time, self._raise_failures) for stream in started]
        return (runs[0] if len(runs) == 1 else runs) if runs else None

    async def _settle(self) -> None:
        await self._time.settle()
        self._raise_failures()

    def _raise_failures(self) -> None:
        """Raise what has failed in the page since the last time."""
        failures = [*self._renderer.failures, *self.link.failures]
        self._renderer.failures.clear()
        self.link.failures.clear()
        if failures:
            raise failures[0]


async def _hold_nursery(task_status: trio.TaskStatus[tuple[trio.Nursery, trio.CancelScope]]) -> None:
    """Hold the nursery of a page open until its scope is cancelled."""
    async with trio.open_nursery() as nursery:
        task_status.started((nursery, nursery.cancel_scope))
        await trio.sleep_forever()


def _failed(callback: Callback, status: int, text: str, failure: BaseException | None) -> AssertionError:
    """What a test is told of a callback that was not answered."""
    if failure is None:
        return AssertionError(f"The callback of {callback.output!r} was answered with {status}: {text}")
    place = place_of_failure(failure)
    error = AssertionError(f"The callback of {callback.output!r} failed at {place}: {failure!r}")
    error.__cause__ = failure
    return error
