"""Keeps clients from writing lines of their own into the log, and from flooding it.

What a client sends is in messages, ids, paths, and exceptions: with a line break in it, it would look like a line of
the log, and with an escape sequence it would command the terminal that shows it. So control characters are escaped
in all that is logged here, and the lines of a traceback are indented.

What a client causes is logged once a minute for each kind, with how often it has happened since.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

INTERVAL = 60.0
"""Seconds from one line of a kind to the next."""

KINDS = 1_000
"""How many kinds are told apart at most."""

LENGTH = 1_000
"""Characters of one value in a message."""

LOGGERS = (
    "flash",
    "flash.server",
    "flash.streams",
    "hypercorn.access",
    "hypercorn.error",
    "quart.app",
    "quart.serving",
)
"""The loggers whose messages have in them what clients send."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_OF_BLOCK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """`text` on one line, without control characters, and not endless."""
    if len(text) > LENGTH:
        text = f"{text[:LENGTH]}… ({len(text)} characters)"
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class EscapeControlCharacters(logging.Filter):
    """Escapes what is filled into messages, and indents tracebacks; what the code itself says is left as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.args and _CONTROL.search(_message(record)) is not None:
            arguments: Any = record.args
            escaped: Any = (
                _Escaped(cast("Any", arguments)) if isinstance(arguments, dict) else tuple(map(_value, arguments))
            )
            record.args = escaped
        if record.exc_info and record.exc_info[0] is not None and record.exc_text is None:
            lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text = "\n".join(f"  {line}" for line in _CONTROL_OF_BLOCK.sub(_escaped, lines).split("\n"))
        return True


class _Escaped(dict[str, Any]):
    """The values of an access log, which has "-" for what it has not."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._values = values

    def __getitem__(self, name: str) -> object:
        return _value(self._values[name])


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Whatever is wrong with it: it is formatted again where it is reported.
        return "\n"


def _value(value: object) -> object:
    return value if isinstance(value, int | float) else escape(str(value))


_filter = EscapeControlCharacters()


def escape_what_clients_send(*names: str) -> None:
    """Have the loggers of a server escape it, and those of these names, which an app's failures are logged to."""
    for name in (*LOGGERS, *names):
        logging.getLogger(name).addFilter(_filter)


@dataclass
class ClientWarnings:
    """Warnings that clients cause, of any number.

    Attributes:
        log: where they go.
        clock: gives seconds.
    """

    log: logging.Logger
    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    _left_out: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def warn(self, kind: str, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a warning, unless there was one of this kind a moment ago.

        Args:
            kind: what has happened, as far as it is to be told apart: a name that the code gives.
            message: for the log, with `arguments`.
            error: whose type and text the message ends with.
        """
        with self._lock:
            now, last = self.clock(), self._last.get(kind)
            if last is not None and now - last < INTERVAL:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            if len(self._last) >= KINDS:
                self._last.clear()
            self._last[kind] = now
            left_out = self._left_out.pop(kind, 0)
        if error is not None:
            message, arguments = f"{message} (%s: %s)", (*arguments, type(error).__name__, _text(error))
        if left_out:
            message, arguments = f"{message}; %d more since the last such line", (*arguments, left_out)
        self.log.warning(f"{message}.", *arguments)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "?"
