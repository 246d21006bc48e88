"""A pretend page, whatever carries what it sends: who it is, what its components have, and its requests.

    page = SomePage(PageIdentity(), dependencies)            # a subclass, which says how a request travels
    page.set("name", value="Ada")                            # a property of a component
    page.start("go")                                         # a click: counts n_clicks up, and sends the request
    page.cancel(stream)                                      # the stream's first condition has become true

What `send` returns, the methods return too: something to await in tests, nothing in benchmarks. What the server sends
is not applied. Does not import pytest, which the benchmarks do without.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

from flash.asgi.page_secret import PAGE_ID
from flash.asgi.tokens import new_token
from flash.testing.component_ids import ComponentId, key_of
from flash.wire import START_HEADER
from tests.support.dash_requests import Callbacks
from tests.support.wire_client import PageIdentity, Post

Sent = TypeVar("Sent")


class AnyPage(ABC, Generic[Sent]):
    """One load of an app in one tab of one browser.

    Attributes:
        dependencies: Dash's list of the app's callbacks.
        values: the properties of the components in the layout, by the component's key.
    """

    def __init__(self, identity: PageIdentity, dependencies: list[dict[str, Any]]) -> None:
        self.dependencies = dependencies
        self.values: dict[str, dict[str, Any]] = {}
        self._identity = identity

    @abstractmethod
    def send(self, post: Post) -> Sent:
        """Send a request, as JSON."""

    @property
    def identity(self) -> PageIdentity:
        """What the page is called, and the form of what it sends."""
        return self._identity

    @property
    def token(self) -> str:
        return self._identity.token

    @token.setter
    def token(self, token: str) -> None:
        self._identity.token = token

    def acknowledge(self, event: str) -> Sent:
        """Tell the server that all events up to the one with this id have been applied."""
        return self.send(self.identity.acknowledge(event))

    def cancel(self, stream: str, condition: int | str = 0, value: Any = 1) -> Sent:
        """Tell the server that the property of a condition of a stream has become `value`."""
        return self.send(self.identity.cancel(stream, condition, value))

    def leave(self) -> Sent:
        """Tell the server that the page is being left, as on `pagehide`."""
        return self.send(self.identity.leave())

    def set(self, component_id: ComponentId, **props: Any) -> None:
        """Give properties of a component these values; a component that has had none is in the layout from now on."""
        self.values.setdefault(key_of(component_id), {"id": component_id}).update(props)

    def start(
        self, component_id: ComponentId = "go", prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> Sent:
        """Change a property and send the request of the one callback that has it for an Input.

        Args:
            component_id: of the component; for MATCH and ALL the id of the one that has changed.
            prop: the property.
            value: None to count one up.
            callback: part of the callback's output, to tell callbacks on the same Input apart.
        """
        return self.send(self.start_post(component_id, prop, value, callback=callback))

    def start_post(
        self, component_id: ComponentId = "go", prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> Post:
        """The request that `start` sends."""
        body = self.request(component_id, prop, value, callback=callback)
        state = cast("list[dict[str, Any] | list[Any]]", body["state"])
        names_page = any(entry["id"] == PAGE_ID for entry in state if isinstance(entry, dict))
        headers = ((START_HEADER, new_token()),) if names_page else ()
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return Post(self.identity.start, text.encode(), headers)

    def request(
        self, component_id: ComponentId = "go", prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """The body of the request that `start` sends."""
        if value is None:
            value = (self.values.get(key_of(component_id), {}).get(prop) or 0) + 1
        self.set(component_id, **{prop: value})
        values = {**self.identity.props, **self.values}
        return Callbacks(self.dependencies).request(component_id, prop, values=values, callback=callback)
