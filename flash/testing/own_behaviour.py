"""What components do by themselves: a `dcc.Interval` ticks, a `dcc.Location` knows the address, clicks are counted."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import trio

from .component_ids import ComponentId, key_of, parse_id
from .layout import Layout
from .renderer import Renderer


class OwnBehaviour:
    """The components of one page that do something by themselves.

    Attributes:
        path: where the page is.
    """

    def __init__(self, layout: Layout, renderer: Renderer, nursery: trio.Nursery, path: str) -> None:
        self.path = path
        self._layout = layout
        self._renderer = renderer
        self._nursery = nursery
        self._ticking: set[str] = set()
        self._located: set[str] = set()

    def mount(self) -> None:
        """Have the components that have come do what they do."""
        for component in self._layout.of_type("dash_core_components", "Interval"):
            key = key_of(component["props"]["id"])
            if key not in self._ticking:
                self._ticking.add(key)
                self._nursery.start_soon(self._tick, key)
        locations = {key_of(each["id"]): each for each in self._locations()}
        came = locations.keys() - self._located
        self._located = set(locations)
        if came:
            self._renderer.set_at_once((locations[key]["id"], _address(self.path)) for key in came)

    def go(self, path: str) -> None:
        """Go to another path of the app."""
        self.path = path
        for props in self._locations():
            changed = {name: value for name, value in _address(path).items() if props.get(name) != value}
            self._renderer.set(props["id"], changed)

    def click(self, component_id: ComponentId) -> None:
        """Count the clicks of a component up, and those of the HTML elements around it."""
        clicked = [component_id, *self._layout.ancestors(component_id)]
        self._renderer.set_at_once((each, self._a_click_more(each)) for each in clicked)

    def _a_click_more(self, component_id: ComponentId) -> dict[str, Any]:
        props = self._layout.props(component_id) or {}
        return {"n_clicks": (props.get("n_clicks") or 0) + 1, "n_clicks_timestamp": int(trio.current_time() * 1_000)}

    async def _tick(self, key: str) -> None:
        while (component := self._layout.components.get(key)) is not None:
            await trio.sleep(component["props"].get("interval", 1_000) / 1_000)
            props = self._layout.components.get(key, {"props": {"disabled": True}})["props"]
            count, most = props.get("n_intervals") or 0, props.get("max_intervals", -1)
            if not props.get("disabled") and (most is None or most < 0 or count < most):
                self._renderer.set(parse_id(key), {"n_intervals": count + 1})
        self._ticking.discard(key)

    def _locations(self) -> list[dict[str, Any]]:
        return [each["props"] for each in self._layout.of_type("dash_core_components", "Location")]


def _address(path: str) -> dict[str, str]:
    """What a `dcc.Location` has of an address."""
    parts = urlsplit(path)
    query, fragment = parts.query and f"?{parts.query}", parts.fragment and f"#{parts.fragment}"
    pathname = "/" + parts.path.lstrip("/")
    return {
        "pathname": pathname,
        "search": query,
        "hash": fragment,
        "href": f"http://localhost{pathname}{query}{fragment}",
    }
