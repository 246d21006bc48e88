"""What Dash's `ctx` has in a callback of these tests; its types allow for None wherever a callback may have nothing.

yield stream_props({"row": triggered_id()["row"]}, {"children": "done"})
await websocket().set_prop("out", "children", "done")
"""

from __future__ import annotations

from typing import Any, cast

from dash import ctx


def triggered_id() -> dict[str, Any]:
    """The id of the component that started this callback, which has a pattern-matching id."""
    component_id: object = cast("Any", ctx).triggered_id
    assert isinstance(component_id, dict)
    return cast("dict[str, Any]", component_id)


def websocket() -> Any:
    """The page of this callback, which it was called by over a websocket. Dash's type lacks some of its methods."""
    interface = ctx.websocket
    assert interface is not None
    return interface
