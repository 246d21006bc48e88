"""The callback context (`ctx`) inside a stream, which outlives the request that started it.

It is the context of that request, with what no longer holds for a stream taken out or replaced: the dependencies that
Flash has added behind the user's, the websocket and the response of the request, and where `set_props` puts its props.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

import trio

from .._dash import AttributeDict, context_value, inputs_to_dict, map_grouping, stringify_id
from ..errors import FlashError
from ..props import Update, parse_id
from ..streams.stream import Stream
from .declaration import Declaration


class LiveProps(dict[Any, Any]):
    """The `updated_props` of a stream's callback context: what `set_props` puts here leaves at once.

    Attributes:
        stream: the stream that sends it; set as soon as the stream is there.
    """

    __slots__ = ("_token", "stream")

    def __init__(self) -> None:
        super().__init__()
        self.stream: Stream | None = None
        self._token = trio.lowlevel.current_trio_token()

    def get(self, key: Any, default: Any = None) -> Any:
        return default

    def __setitem__(self, component_id: Any, props: Any) -> None:
        assert self.stream is not None
        update = Update(((parse_id(stringify_id(component_id)), props),))
        unwinding = isinstance(sys.exc_info()[1], trio.Cancelled | GeneratorExit)
        if trio.lowlevel.in_trio_run():
            self.stream.push(update, unwinding)
        else:
            trio.from_thread.run_sync(self.stream.push, update, unwinding, trio_token=self._token)


class _NoResponse:
    """The `ctx.response` of a stream: the request that started it has been answered long before."""

    def __getattr__(self, name: str) -> Any:
        raise FlashError(
            f"ctx.response.{name} was used in a stream, which has no response: the request that started it has been "
            "answered. Set cookies and headers in a callback of the same Input."
        )


_NO_RESPONSE = _NoResponse()


def context_of_stream(request: Any, declaration: Declaration, added: int, live: LiveProps) -> contextvars.Context:
    """The contextvars that a stream runs with: those of the current request, with a `ctx` for the stream.

    Args:
        request: the callback context of the request that starts the stream.
        declaration: of the event callback.
        added: how many Inputs Flash has added behind the user's.
        live: takes what `set_props` sets.
    """
    stream_context = AttributeDict(request)
    stream_context.inputs_list = request.inputs_list[: len(declaration.inputs)]
    stream_context.states_list = request.states_list[: len(declaration.states)]
    stream_context.input_values = inputs_to_dict(stream_context.inputs_list)
    stream_context.state_values = inputs_to_dict(stream_context.states_list)
    count = len(declaration.inputs)
    stream_context.args_grouping = map_grouping(
        lambda index: request.args_grouping[index if index < count else index + added], declaration.grouping
    )
    stream_context.using_args_grouping = declaration.grouping != list(range(count + len(declaration.states)))
    if declaration.outputs is None:
        stream_context.outputs_list, stream_context.outputs_grouping = [], []
    stream_context.updated_props = live
    # `set_props` would use the websocket that the start came over, which is not the stream's.
    stream_context.dash_websocket = None
    stream_context.dash_response = _NO_RESPONSE
    context = contextvars.copy_context()
    context.run(context_value.set, stream_context)
    return context
