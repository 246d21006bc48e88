"""The callback context (`ctx`) inside a stream, which outlives the request that started it.

It is the context of that request, with what no longer holds for a stream taken out or replaced: the dependencies that
Flash has added behind the user's, the websocket and the response of the request, and where `set_props` puts its props.
It is kept packed, as the request itself is, until the stream's code asks for something: see `asgi.kept_request`.
"""

from __future__ import annotations

import contextvars
import pickle
import sys
from collections.abc import Callable
from typing import Any

import trio

from .._dash import AttributeDict, context_value, inputs_to_dict, map_grouping, stringify_id
from ..asgi.kept_request import Kept, KeptRequest, keep_request, pack, unpack
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


_GONE: dict[str, Any] = {
    # `set_props` would use the websocket that the start came over, which is not the stream's.
    "dash_websocket": None,
    "dash_response": _NO_RESPONSE,
}
"""What of the callback context of a request is not that of a stream."""

_OF_HTTP: dict[str, Callable[[Any], object]] = {
    "cookies": lambda request: dict(request.cookies),
    "headers": lambda request: dict(request.headers),
    "args": lambda request: request.args,
    "path": lambda request: request.full_path,
    "remote": lambda request: request.remote_addr,
    "origin": lambda request: request.headers.get("origin"),
}
"""What Dash puts into a callback context of the HTTP request, which can be asked again."""

_DATA = frozenset(
    {
        *("inputs_list", "states_list", "outputs_list", "outputs_grouping", "args_grouping"),
        *("input_values", "state_values", "triggered_inputs"),
    }
)
"""What of it comes from the JSON of the request: dicts and lists that Dash and Flash have made of that."""


def _pickled(context: dict[str, Any]) -> bytes:
    return pickle.dumps(context, pickle.HIGHEST_PROTOCOL)


_INPUT = {"id": "button", "property": "n_clicks", "value": 1}

_EXAMPLE = _pickled(
    {
        "inputs_list": [_INPUT],
        "states_list": [],
        "outputs_list": [],
        "input_values": AttributeDict({"button.n_clicks": 1}),
        "state_values": AttributeDict(),
        "triggered_inputs": [{"prop_id": "button.n_clicks", "value": 1}],
        "background_callback_manager": None,
        "ignore_register_page": None,
        "args_grouping": AttributeDict({**_INPUT, "str_id": "button", "triggered": True}),
        "using_args_grouping": True,
        "outputs_grouping": [],
        "using_outputs_grouping": False,
        "custom_data": AttributeDict(),
    }
)
"""What `KeptContext` packs of a callback context that says little."""


class KeptContext(Kept):
    """Stands for the callback context of a stream: packed, until it is asked for something.

    Attributes:
        updated_props: takes what `set_props` sets.
    """

    __slots__ = ("_kept_request", "_objects", "_packed", "updated_props")

    def __init__(self, whole: Any, request: KeptRequest) -> None:
        """
        Args:
            whole: the callback context.
            request: the HTTP request that it is of.
        """
        super().__init__()
        packed: dict[str, Any] = {}
        objects: list[tuple[str, Any]] = []
        for name, value in whole.items():
            if name in _OF_HTTP or name in _GONE or name == "updated_props":
                continue
            if name in _DATA or value is None or isinstance(value, bool) or value == {}:
                packed[name] = value
            else:
                objects.append((name, value))
        self._packed = pack(_pickled(packed), _EXAMPLE)
        self._objects = tuple(objects)
        self._kept_request = request
        self.updated_props: Any = whole.updated_props

    def _unpacked(self) -> Any:
        whole = AttributeDict(pickle.loads(unpack(self._packed, _EXAMPLE)))  # noqa: S301 - packed by `__init__`
        request = self._kept_request.request
        whole.update({name: ask(request) for name, ask in _OF_HTTP.items()})
        whole.update({**_GONE, **dict(self._objects), "updated_props": self.updated_props})
        return whole


def context_of_stream(
    request: Any, declaration: Declaration, added: int, live: LiveProps, *, is_small: bool
) -> contextvars.Context:
    """The contextvars that a stream runs with: those of the current request, with a `ctx` for the stream.

    Args:
        request: the callback context of the request that starts the stream.
        declaration: of the event callback.
        added: how many Inputs Flash has added behind the user's.
        live: takes what `set_props` sets.
        is_small: the values of the Inputs and States are few, so that packing them takes no time to speak of.
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
    stream_context.update(_GONE)
    context = contextvars.copy_context()
    kept = keep_request(context)
    if kept is not None and is_small:
        stream_context = KeptContext(stream_context, kept)
    context.run(context_value.set, stream_context)
    return context
