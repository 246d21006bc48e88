"""The browser's end of a page: what Dash's renderer and Flash's client do, as far as the server can see it.

    page = await server.page()                  # loads the index, the layout and the callbacks; has cookie and token
    events = await page.connect()               # the event stream
    await page.start("go")                      # a click: increments n_clicks and sends the callback request
    opened = await events.expect("open")
    await page.cancel(opened["stream"], 0, 1)   # condition number 0 has become 1

A page keeps the values of its components' properties as the layout has them; `start` and `set` change them, and the
requests of callbacks carry them. What the server sends is not applied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx

from tests.http.event_streams import EventStream
from tests.support.eventually import TIMEOUT

COOKIE = "flash_browser"

ComponentId = str | dict[str, Any]


class Page:
    """One load of an app in one tab of one browser.

    Pages with the same `client` are tabs of the same browser.

    Attributes:
        client: the browser, with its cookies.
        port: of the server.
        prefix: of the app's routes, such as `/`.
        token: names the page.
        layout: as it was sent.
        dependencies: Dash's list of the app's callbacks.
        streams: the ids of the hidden components of the app's event callbacks, in the order of their declaration.
    """

    def __init__(self, client: httpx.AsyncClient, port: int, prefix: str = "/") -> None:
        self.client = client
        self.port = port
        self.prefix = prefix
        self.token = ""
        self.layout: Any = None
        self.dependencies: list[dict[str, Any]] = []
        self.streams: list[str] = []
        self._values: dict[str, dict[str, Any]] = {}
        self._connections: list[EventStream] = []

    async def load(self, path: str = "") -> None:
        """Get what a browser gets when the app is opened at `path`."""
        for url in (path, "_dash-layout", "_dash-dependencies"):
            response = await self.get(url)
            assert response.status_code == 200, (url, response.status_code, response.text)
            if url == "_dash-layout":
                self.layout = response.json()
            elif url == "_dash-dependencies":
                self.dependencies = response.json()
        for kind, props in _components(self.layout):
            self._values[_key(props["id"])] = props
            if kind == "flash.Stream":
                self.streams.append(props["id"])
        self.token = self._values.get("_flash", {}).get("token", "")

    @property
    def cookie(self) -> str:
        """The secret of the browser; "" if it has none."""
        return self.client.cookies.get(COOKIE) or ""

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path that is relative to the app's prefix."""
        return await self.client.get(self.prefix + path, **options)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """POST `body` as JSON to a path that is relative to the app's prefix."""
        return await self.client.post(self.prefix + path, json=body)

    # The event stream

    async def connect(
        self, *, headers: Mapping[str, str] | None = None, receive_buffer: int | None = None, ok: bool = True
    ) -> EventStream:
        """Open the page's event stream.

        Args:
            headers: instead of the browser's cookie.
            receive_buffer: bytes that the socket may hold unread.
            ok: whether the server is expected to accept.
        """
        if headers is None:
            headers = {"Cookie": f"{COOKIE}={self.cookie}"}
        target = f"{self.prefix}_flash/events?page={self.token}"
        stream = await EventStream.connect(self.port, target, headers, receive_buffer=receive_buffer)
        self._connections.append(stream)
        if ok:
            assert stream.status == 200, stream.status
        return stream

    async def cancel(self, stream: str, condition: int | str = 0, value: Any = None) -> httpx.Response:
        """Tell the server that the property of a condition of a stream has become `value`."""
        body = {"page": self.token, "stream": stream, "condition": condition, "value": value}
        return await self.post("_flash/cancel", body)

    async def leave(self) -> httpx.Response:
        """Tell the server that the page is being left, as on `pagehide`."""
        return await self.post("_flash/close", {"page": self.token})

    async def close(self) -> None:
        """Close the event streams."""
        for stream in self._connections:
            await stream.close()

    # Callbacks

    def set(self, component_id: ComponentId, **props: Any) -> None:
        """Give a component's properties other values than the layout has."""
        self._values.setdefault(_key(component_id), {"id": component_id}).update(props)

    async def start(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> httpx.Response:
        """Change a property and send the request of the one callback that has it for an Input.

        Args:
            component_id: of the component; for MATCH and ALL the id of the one that has changed.
            prop: the property.
            value: None to count one up.
            callback: part of the callback's output, to tell callbacks on the same Input apart.
        """
        return await self.post("_dash-update-component", self.request(component_id, prop, value, callback=callback))

    async def call(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """Like `start`, for a callback that returns its result: what it answered, by component id."""
        response = await self.start(component_id, prop, value, callback=callback)
        assert response.status_code == 200, (response.status_code, response.text)
        return cast("dict[str, Any]", response.json()["response"])

    def request(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """The body of the request that `start` sends."""
        if value is None:
            value = (self._values.get(_key(component_id), {}).get(prop) or 0) + 1
        self.set(component_id, **{prop: value})
        found = [
            (dependency, matched)
            for dependency in self.dependencies
            if callback in " ".join([dependency["output"], *(entry["id"] for entry in dependency["inputs"])])
            for entry in dependency["inputs"]
            if entry["property"] == prop and (matched := _match(_pattern(entry["id"]), component_id)) is not None
        ]
        assert len(found) == 1, f"{len(found)} callbacks have the Input {component_id!r}.{prop}"
        dependency, matched = found[0]
        body = {
            "output": dependency["output"],
            "inputs": [self._entry(entry, matched) for entry in dependency["inputs"]],
            "state": [self._entry(entry, matched) for entry in dependency["state"]],
            "changedPropIds": [f"{_key(component_id)}.{prop}"],
        }
        if not dependency["no_output"]:
            body["outputs"] = _outputs(dependency["output"])
        return body

    def _entry(self, entry: Mapping[str, Any], matched: Mapping[str, Any]) -> Any:
        """What the renderer sends for one Input or State."""
        prop = entry["property"]
        pattern = _pattern(entry["id"])
        if isinstance(pattern, dict):
            pattern = {
                name: matched.get(name, value) if value == ["MATCH"] else value for name, value in pattern.items()
            }
            if any(isinstance(value, list) for value in pattern.values()):
                ids = [props["id"] for props in self._values.values() if _match(pattern, props["id"]) is not None]
                return [{"id": i, "property": prop, "value": self._values[_key(i)].get(prop)} for i in ids]
        props = self._values.get(_key(pattern))
        if props is None:
            # This is how the renderer says that a component is not in the layout.
            return dict(entry)
        return {"id": pattern, "property": prop, "value": props.get(prop)}


def new_client(port: int) -> httpx.AsyncClient:
    """A browser with no cookies yet."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False, timeout=TIMEOUT, follow_redirects=False
    )


def _components(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The components of a layout that have an id: their types and props."""
    if isinstance(node, list):
        for child in cast("list[Any]", node):
            yield from _components(child)
    elif isinstance(node, dict) and "props" in node:
        props = cast("dict[str, Any]", node["props"])
        if "id" in props:
            yield f"{node['namespace']}.{node['type']}", props
        yield from _components(props.get("children"))


def _key(component_id: ComponentId) -> str:
    """A component's id as Dash writes it in `changedPropIds`."""
    if isinstance(component_id, str):
        return component_id
    return json.dumps(component_id, sort_keys=True, separators=(",", ":"))


def _pattern(component_id: str) -> ComponentId:
    """The id in a dependency: a string, or an object in which `["MATCH"]` is a wildcard."""
    return cast("dict[str, Any]", json.loads(component_id)) if component_id.startswith("{") else component_id


def _match(pattern: ComponentId, component_id: ComponentId) -> dict[str, Any] | None:
    """What the wildcards of `pattern` stand for in `component_id`; None if that is another component."""
    if isinstance(pattern, str) or isinstance(component_id, str):
        return {} if pattern == component_id else None
    if pattern.keys() != component_id.keys():
        return None
    for name, value in pattern.items():
        if not isinstance(value, list) and value != component_id[name]:
            return None
    return {name: component_id[name] for name, value in pattern.items() if value == ["MATCH"]}


def _outputs(output: str) -> Any:
    """The `outputs` of a request, from the name of its callback."""
    if output.startswith(".."):
        return [_outputs(part) for part in output.strip(".").split("...")]
    component_id, _, prop = output.rpartition(".")
    return {"id": component_id, "property": prop.partition("@")[0]}
