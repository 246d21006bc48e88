"""Makes the context of a callback request (`ctx`) as Dash does, in a third of the time.

Dash sets each of the context's entries through checks that no context needs: whether the entry is read-only, whether
new ones are forbidden. It asks for each part of the request through a proxy that looks up the current one. Together
that takes longer than anything else Dash does for a small callback. Here the entries are the same, from the request
itself, and are set at once. `tests/private_names/test_dash_context.py` compares the two.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import dash
from dash import _utils

if TYPE_CHECKING:
    AttributeDict = dict[str, Any]
else:
    AttributeDict = _utils.AttributeDict

_inputs_to_dict: Any = _utils.inputs_to_dict


class CallbackContext(AttributeDict):
    """The context of one callback request: a dictionary whose entries are attributes, too; none is read-only."""

    __setitem__ = dict[str, Any].__setitem__
    __setattr__ = dict[str, Any].__setitem__


HANDSHAKE: ContextVar[dict[str, Any] | None] = ContextVar("flash_handshake", default=None)
"""What the callbacks of a websocket have of its handshake, which is read once; None for a callback over HTTP."""


class QuickContext(dash.Dash):
    """A Dash app that makes the contexts of its callback requests in one go."""

    def keep_handshake(self) -> None:
        """Read the handshake of the current websocket, for the callbacks that tasks of this one run from now on."""
        HANDSHAKE.set(self._request_entries())

    def _request_entries(self) -> dict[str, Any]:
        request = cast("Any", self.backend).request_adapter().request
        headers: dict[str, str] = {}
        # The first of several of a name, as `dict(request.headers)` would have it, which looks for each name anew.
        for name, value in request.headers:
            headers.setdefault(name, value)
        return {
            "cookies": request.cookies.to_dict(),
            "headers": headers,
            "args": request.args,
            "path": request.full_path,
            "remote": request.remote_addr,
            "origin": headers["Origin"] if "Origin" in headers else request.headers.get("origin"),
        }

    def _initialize_context(self, body: Any) -> Any:
        inputs, states = body.get("inputs", []), body.get("state", [])
        values = _inputs_to_dict(inputs)
        entries = HANDSHAKE.get()
        if entries is None:
            entries = self._request_entries()
        else:
            # A callback may change what it finds there.
            entries = {**entries, "cookies": entries["cookies"].copy(), "headers": entries["headers"].copy()}
        return CallbackContext(
            **entries,
            inputs_list=inputs,
            states_list=states,
            outputs_list=body.get("outputs", []),
            input_values=values,
            state_values=_inputs_to_dict(states),
            triggered_inputs=[{"prop_id": name, "value": values.get(name)} for name in body.get("changedPropIds", [])],
            dash_response=cast("Any", self.backend).response_adapter(),
            updated_props={},
        )
