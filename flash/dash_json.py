"""Encodes values as JSON with orjson's speed and exactly as Dash without orjson would.

    value ── orjson, with Dash's own rules for what is not plain ──┐
      └─ refused ── Dash's own encoder ────────────────────────────┼── text
           └─ refused ── Dash's encoder for orjson ────────────────┘

Dash chooses orjson as soon as it is there, and orjson differs: it refuses dictionaries whose keys are numpy's numbers,
integers beyond 64 bits and lone surrogates, and writes dates and single-precision numbers of numpy in another form.
Flash depends on orjson, and so would change what apps send. Here orjson writes only values for which both agree. For
anything else it calls the encoder that Dash uses without orjson. What that refuses and orjson takes (UUIDs, enums,
dataclasses) is sent all the same.
"""
# Plotly has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from __future__ import annotations

import datetime
import sys
from functools import cache
from typing import Any, cast

import orjson

PLAIN = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
"""The option of orjson to encode the values that Dash writes in the same way, and to refuse the rest."""

_DATES = (datetime.datetime, datetime.date, datetime.time)

_SAME_IN_NUMPY = frozenset(["bool", "float64", *(f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64))])
"""The types of arrays that orjson writes as Python writes the list of their items."""

_UNSAFE = (("<", "\\u003c"), (">", "\\u003e"), ("/", "\\u002f"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
"""What Dash escapes, as it puts JSON into `<script>` elements."""


@cache
def _encoder() -> Any:
    """Plotly's encoder. Its module loads what pictures are encoded with, so it is loaded when it is first needed."""
    from plotly.utils import PlotlyJSONEncoder

    return PlotlyJSONEncoder()


def _to_json_plotly(value: object, engine: str | None = None) -> str:
    """What Dash itself calls. Its module is loaded when it is first needed, as Dash does."""
    from plotly.io.json import to_json_plotly

    return cast("Any", to_json_plotly)(value, engine=engine)


def _has_chosen_engine() -> bool:
    """Whether the app has set `plotly.io.json.config.default_engine`, which it cannot without loading that module."""
    config: Any = getattr(sys.modules.get("plotly.io.json"), "config", None)
    return config is not None and config.default_engine != "auto"


def to_json(value: object) -> str:
    """What Dash sends for a value: components, figures, arrays, dates and all else that callbacks return.

    An engine that the app has chosen (`plotly.io.json.config.default_engine`) is used as it is.

    Raises:
        TypeError: neither Dash nor orjson can encode something in the value.
        ValueError: the value contains itself.
    """
    if _has_chosen_engine():
        return _to_json_plotly(value)
    try:
        text = orjson.dumps(value, plainly, PLAIN).decode()
    except TypeError:
        return _with_dash(value)
    for unsafe, escaped in _UNSAFE:
        if unsafe in text:
            text = text.replace(unsafe, escaped)
    return text


def _with_dash(value: object) -> str:
    try:
        return _to_json_plotly(value, engine="json")
    except TypeError as refusal:
        try:
            return _to_json_plotly(value, engine="orjson")
        except TypeError:
            raise refusal from None


def plainly(value: Any) -> Any:
    """What Dash's encoder writes for a value that orjson does not take for plain: see `orjson.dumps(default=)`.

    Raises:
        TypeError: Dash's encoder refuses it, too.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dict):
        return dict(cast("dict[Any, Any]", value).items())
    if isinstance(value, list | tuple):
        return list(cast("list[Any]", value))
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if type(value) in _DATES:
        return value.isoformat()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and value.dtype.name in _SAME_IN_NUMPY:
        try:
            return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
        except TypeError:
            pass  # The items of the array are not contiguous in memory.
    return _encoder().default(value)
