"""Tracebacks for the dev tools: an HTML page of the frames that are the user's, in which messages are text.

What led to a callback, Dash's frames, Quart's and Flash's own, is pruned. Where nothing is known to prune, as in an
error of a route or a layout, the traceback is whole.
"""

from __future__ import annotations

import html
import traceback
from types import TracebackType

from .._dash import calls_users_function

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


def describe_exception(error: BaseException) -> str:
    """One line: the type and the message of an exception."""
    return "".join(traceback.format_exception_only(error)).strip()


def traceback_page(error: BaseException, title: str, *, prune: bool = True) -> str:
    """A page for the dev tools' popup, which shows it in a frame of its own."""
    frames = _users(error.__traceback__) if prune else error.__traceback__
    told = traceback.TracebackException(type(error), error, frames)
    return _PAGE.format(
        name=_escape(type(error).__name__),
        message=_escape(describe_exception(error)),
        title=_escape(title),
        frames="\n".join(
            f"<h3>{_escape(frame.filename)}, line {frame.lineno}, in {_escape(frame.name)}</h3>"
            f"<pre>{_escape(frame.line or '')}</pre>"
            for frame in told.stack
        ),
        text=_escape("".join(told.format())),
    )


def _users(frames: TracebackType | None) -> TracebackType | None:
    """A traceback from where the user's code begins."""
    walk, begin = frames, frames
    while walk is not None:
        function, module = walk.tb_frame.f_code.co_name, walk.tb_frame.f_globals.get("__name__", "")
        if calls_users_function(module, function) or (walk is begin and module.partition(".")[0] == "flash"):
            begin = walk.tb_next
        walk = walk.tb_next
    return begin if begin is not None else frames


def _escape(text: str) -> str:
    return html.escape(text, quote=False)
