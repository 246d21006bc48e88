"""Parses and writes the messages of Dash's websocket, exactly as Dash's renderer writes and reads them. No I/O.

The page requests callbacks, answers requests for its props, and sends heartbeats:

    {"type": "callback_request", "rendererId", "requestId", "payload": what a callback's POST would carry}
    {"type": "get_props_response", "rendererId", "requestId", "payload": {prop: value}}
    {"type": "heartbeat"}

The server answers each callback request once. Until then it may set props, and request them:

    {"type": "callback_response", "rendererId", "requestId", "payload": {"status": "ok", "data"}}
                                                                    or  {"status": "prevent_update"}
                                                                    or  {"status": "error", "message"}
    {"type": "set_props", "rendererId", "payload": {"componentId", "props"}}
    {"type": "get_props_request", "rendererId", "requestId", "payload": {"componentId", "properties"}}
    {"type": "error", "rendererId", "payload": {"message", "code"}}
    {"type": "heartbeat_ack"}

One socket serves all tabs of a browser that have the app open; the `rendererId` of a message names the tab. A frame of
several messages is a JSON array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ..asgi.client_json import read_json
from ..dash_json import to_json
from ..errors import RequestRefused

HEARTBEAT_ACK = '{"type": "heartbeat_ack"}'


class Malformed(Exception):
    """Raised for a message of a form that no page sends."""


@dataclass(slots=True)
class CallbackMessage:
    """The page requests that a callback be run."""

    renderer: str
    request_id: str
    payload: dict[str, Any]


class PropsResponse(NamedTuple):
    """The page answers a request for its props."""

    request_id: str
    props: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The page asks whether the server is there."""


async def decode(data: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a frame.

    Raises:
        Malformed: the frame is not a JSON object, or would take too much memory.
    """
    try:
        message = await read_json(data)
    except RequestRefused as refusal:
        raise Malformed(str(refusal)) from None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Malformed("A message is a JSON object.")
    return cast("dict[str, Any]", message)


def renderer_of(message: Mapping[str, Any]) -> str:
    """Return the id of the tab that sent a message; "" if the message does not name it."""
    renderer = message.get("rendererId", "")
    return renderer if isinstance(renderer, str) else ""


def read(message: Mapping[str, Any]) -> CallbackMessage | PropsResponse | Heartbeat:
    """Return a message of the page as its type.

    Raises:
        Malformed: the message has a form that no page sends.
    """
    kind, request_id, payload = message.get("type"), message.get("requestId"), message.get("payload")
    if kind == "heartbeat":
        return Heartbeat()
    if kind not in ("callback_request", "get_props_response"):
        raise Malformed(f"There are no messages of the type {kind!r}.")
    if not isinstance(request_id, str):
        raise Malformed(f"A {kind} has a requestId.")
    if not isinstance(payload, dict):
        raise Malformed(f"The payload of a {kind} is a JSON object.")
    content = cast("dict[str, Any]", payload)
    if kind == "callback_request":
        return CallbackMessage(renderer_of(message), request_id, content)
    return PropsResponse(request_id, content)


def set_props(renderer: str, component_id: str, props: Mapping[str, Any]) -> str:
    """Write the message that sets props of a component.

    Raises:
        TypeError: Dash cannot write a value as JSON.
    """
    payload = {"componentId": component_id, "props": props}
    return to_json({"type": "set_props", "rendererId": renderer, "payload": payload})


def get_props_request(
    renderer: str, request_id: str, component_id: str, prop: str, path: list[str | int] | None = None
) -> str:
    """Write the message that requests a prop of a component, or the part of it at `path`."""
    payload: dict[str, Any] = {"componentId": component_id, "properties": [prop]}
    if path is not None:
        payload["path"] = path
    return _write({"type": "get_props_request", "rendererId": renderer, "requestId": request_id, "payload": payload})


def callback_response(request: CallbackMessage, data: str) -> str:
    """Write the answer with the result of a callback, which Dash has already written as JSON."""
    return _respond(request, f'{{"status":"ok","data":{data}}}')


def prevent_update(request: CallbackMessage) -> str:
    """Write the answer of a callback that changes nothing."""
    return _respond(request, '{"status":"prevent_update"}')


def callback_error(request: CallbackMessage, message: str) -> str:
    """Write the answer of a callback that has failed, or was not run."""
    return _respond(request, _write({"status": "error", "message": message}))


def error(renderer: str, message: str, code: str) -> str:
    """Write the answer to a message of a form that no page sends."""
    return _write({"type": "error", "rendererId": renderer, "payload": {"message": message, "code": code}})


def _respond(request: CallbackMessage, payload: str) -> str:
    renderer, request_id = json.dumps(request.renderer), json.dumps(request.request_id)
    return f'{{"type":"callback_response","rendererId":{renderer},"requestId":{request_id},"payload":{payload}}}'


def _write(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
