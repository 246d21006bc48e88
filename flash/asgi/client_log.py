"""Keeps clients from forging lines of the log, and from flooding it.

Messages contain what clients send: ids, paths, the texts of exceptions. A line break in such a value would begin what
looks like a line of the log, and an escape sequence would control the terminal that shows it. So Flash escapes control
characters in every value that it logs, and indents the lines of tracebacks.

A warning that clients cause is logged once a minute for each kind of warning, with the number of those left out.
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
"""Seconds between two warnings of one kind."""

KINDS = 1_000
"""How many kinds of warnings are remembered; beyond that all are forgotten."""

LENGTH = 1_000
"""Characters beyond which a value in a message is cut."""

LOGGERS = (
    "flash",
    "flash.server",
    "flash.streams",
    "hypercorn.access",
    "hypercorn.error",
    "quart.app",
    "quart.serving",
)
"""The loggers whose messages contain what clients send."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_OF_BLOCK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """`text` on one line, with control characters escaped, and cut after `LENGTH` characters."""
    if len(text) > LENGTH:
        text = f"{text[:LENGTH]}… ({len(text)} characters)"
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class EscapeControlCharacters(logging.Filter):
    """Escapes the arguments of messages, and indents tracebacks; the format strings stay as they are."""

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
    """The values of a line of the access log, escaped.

    Each is looked up in Hypercorn's own mapping, which gives "-" for a value that is missing.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._values = values

    def __getitem__(self, name: str) -> object:
        return _value(self._values[name])


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # `logging` formats the message again and reports the error. The line break makes the filter escape its values.
        return "\n"


def _value(value: object) -> object:
    return value if isinstance(value, int | float) else escape(str(value))


_filter = EscapeControlCharacters()


def escape_what_clients_send(*names: str) -> None:
    """Make the loggers of a server, and those of `names`, escape what clients send.

    Args:
        names: further loggers, to which an app's failures are logged.
    """
    for name in (*LOGGERS, *names):
        logging.getLogger(name).addFilter(_filter)


@dataclass
class ClientWarnings:
    """Logs warnings that clients cause, at most one of each kind in `INTERVAL`.

    Attributes:
        log: the logger.
        clock: returns the time in seconds.
    """

    log: logging.Logger
    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    _left_out: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def warn(self, kind: str, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a warning, unless one of the same kind was logged less than `INTERVAL` seconds ago.

        Args:
            kind: the name of the kind of warning, which the calling code chooses.
            message: the format string of the message, without the full stop.
            arguments: the values for `message`.
            error: an exception whose type and text are added to the message.
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
