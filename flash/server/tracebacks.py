"""Renders tracebacks for the dev tools: HTML pages of the frames that are the user's, with messages as text.

The frames of Dash, Quart and Flash that led to a callback are pruned. The traceback of an error elsewhere, as in a
route or a layout, is shown whole.
"""

from __future__ import annotations

import html
import traceback
from types import TracebackType
from typing import Any

from .._dash import calls_users_function, shows_dev_tools
from ..wire import Failure

_PAGE = """<!doctype html>
<html lang="en">
<head>
<title>{message}</title>
<style>
body {{ font-family: monospace; margin: 1.5em; color: #333 }}
h1 {{ color: #b00 }}
h3 {{ margin: 1em 0 0; font-weight: normal; color: #06c }}
pre {{ margin: 0.2em 0 0 1em; white-space: pre-wrap }}
textarea {{ width: 100%; height: 12em }}
</style>
</head>
<body>
<h1>{name}</h1>
<p class="errormsg">{message}</p>
<h2>{title}: traceback (most recent call last)</h2>
{frames}
<p>The same as plain text:</p>
<textarea readonly>{text}</textarea>
</body>
</html>
"""


GENERIC_ERROR = "The stream failed on the server."
"""What a page without dev tools is shown of a failure; the exception itself is only logged."""


def describe_failure(app: Any, callback: str, error: BaseException) -> bytes:
    """What a page of this app is told of the failure of a stream of this event callback, as JSON."""
    if not shows_dev_tools(app):
        return Failure(GENERIC_ERROR, None).encode()
    return Failure(describe_exception(error), traceback_page(error, f"Event callback {callback}")).encode()


def describe_exception(error: BaseException) -> str:
    """The type and the message of an exception, in one line."""
    return "".join(traceback.format_exception_only(error)).strip()


def traceback_page(error: BaseException, title: str, *, prune: bool = True) -> str:
    """An HTML page for the popup of the dev tools, which shows it in a frame of its own."""
    frames = _users(error.__traceback__) if prune else error.__traceback__
    summary = traceback.TracebackException(type(error), error, frames)
    return _PAGE.format(
        name=_escape(type(error).__name__),
        message=_escape(describe_exception(error)),
        title=_escape(title),
        frames="\n".join(
            f"<h3>{_escape(frame.filename)}, line {frame.lineno}, in {_escape(frame.name)}</h3>"
            f"<pre>{_escape(frame.line or '')}</pre>"
            for frame in summary.stack
        ),
        text=_escape("".join(summary.format())),
    )


def _users(frames: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the user's code; all of it if no part does."""
    walk, begin = frames, frames
    while walk is not None:
        function, module = walk.tb_frame.f_code.co_name, walk.tb_frame.f_globals.get("__name__", "")
        if calls_users_function(module, function) or (walk is begin and module.partition(".")[0] == "flash"):
            begin = walk.tb_next
        walk = walk.tb_next
    return begin if begin is not None else frames


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
