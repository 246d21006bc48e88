"""Turns snapshots into what the inspector's page shows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dash import html

from .rates import streams_in
from .snapshot import Snapshot

Shown = Any
"""A component of Dash's."""


def show(found: Mapping[str, Snapshot | None], rates: Mapping[str, float], *, with_buttons: bool) -> list[Shown]:
    """The page for what all workers run.

    Args:
        found: the snapshot of each worker; None for one that does not answer.
        rates: updates per second of each stream.
        with_buttons: whether there is a button to end each stream.
    """
    answered = [snapshot for snapshot in found.values() if snapshot is not None]
    stuck = sum(stream["state"] == "stuck" for stream in streams_in(found))
    numbers = [
        ("workers", len(found), len(answered) < len(found)),
        ("browsers", sum(len(snapshot["browsers"]) for snapshot in answered), False),
        ("pages", sum(snapshot["pages"] for snapshot in answered), False),
        ("streams", sum(snapshot["streams"] for snapshot in answered), False),
        ("updates/s", round(sum(rates.values())), False),
        ("sources", sum(len(snapshot["feeds"]) + len(snapshot["shared_streams"]) for snapshot in answered), False),
        ("stuck", stuck, stuck > 0),
    ]
    boxes = [
        html.Div([html.B(f"{number:,}"), name], className="number bad" if bad else "number")
        for name, number, bad in numbers
    ]
    workers = [_worker(name, snapshot, rates, with_buttons) for name, snapshot in found.items()]
    return [html.Div(boxes, className="numbers"), *workers]


def _worker(name: str, snapshot: Snapshot | None, rates: Mapping[str, float], with_buttons: bool) -> Shown:
    title = html.H2(name)
    if snapshot is None:
        return html.Section([title, html.P("It does not answer.")], className="worker")
    parts: list[Shown] = [title]
    for browser in snapshot["browsers"]:
        parts.append(html.H3(f"Browser {browser['browser']}"))
        parts += [_page(page, rates, with_buttons) for page in browser["pages"]]
    if not snapshot["browsers"]:
        parts.append(html.P("No page is open.", className="quiet"))
    if snapshot["feeds"]:
        parts += [html.H3("Sources of feeds"), _feeds(snapshot["feeds"])]
    if snapshot["shared_streams"]:
        parts += [html.H3("Sources of shared streams"), _shared_streams(snapshot["shared_streams"])]
    if snapshot["ends"]:
        parts += [html.H3("The last ends"), _ends(snapshot["ends"])]
    return html.Section(parts, className="worker")


def _page(page: Snapshot, rates: Mapping[str, float], with_buttons: bool) -> Shown:
    about = [f"Page {page['page']}", "" if page["is_linked"] else ", without a connection"]
    if page["unacknowledged"]:
        about.append(f", {_bytes(page['unacknowledged'])} on their way")
    parts: list[Shown] = [html.Div("".join(about), className="quiet")]
    if page["streams"]:
        parts.append(_streams(page["streams"], rates, with_buttons))
    if page["left_out"]:
        parts.append(html.P(f"and {page['left_out']:,} more streams", className="quiet"))
    others = [task for task in page["tasks"] if task["line"] is not None]
    if others:
        parts.append(_tasks(others))
    return html.Div(parts, className="page" if page["is_linked"] else "page lost")


def _streams(streams: Sequence[Snapshot], rates: Mapping[str, float], with_buttons: bool) -> Shown:
    rows: list[list[Shown]] = []
    for stream in streams:
        follows = stream["follows"]
        waits: list[Shown] = [html.Code(stream["line"] or "-") if follows is None else f"follows {follows}"]
        if stream["waiting"] is not None:
            waits.append(html.Div(f"for room, {stream['waiting']:.1f} s", className="quiet"))
        if stream["tasks"]:
            waits.append(_tasks(stream["tasks"]))
        whose = [] if stream["user"] is None else [html.Div(stream["user"], className="quiet")]
        row: list[Shown] = [
            [stream["callback"], *whose],
            _state(stream["state"], stream["reason"]),
            _seconds(stream["age"]),
            f"{rates.get(stream['id'], 0):.1f}",
            f"{stream['updates']:,}",
            f"{stream['buffered']:,} ({_bytes(stream['bytes'])})" if stream["buffered"] else "0",
            waits,
        ]
        if with_buttons:
            name = stream["id"]
            row.append(
                [html.Button("End", id={"type": "end", "stream": name}), html.Span(id={"type": "said", "stream": name})]
            )
        rows.append(row)
    columns = ["stream", "state", "*age", "*updates/s", "*updates", "*buffered", "waits at"]
    return _table([*columns, ""] if with_buttons else columns, rows)


def _feeds(sources: Iterable[Snapshot]) -> Shown:
    rows: list[list[Shown]] = [
        [
            source["feed"],
            _state(source["state"], None),
            _seconds(source["age"]),
            f"{source['values']:,}",
            html.Ul([html.Li(_follower(follower)) for follower in source["followers"]]) if source["followers"] else "-",
            html.Code(source["line"] or "-"),
        ]
        for source in sources
    ]
    return _table(["source", "state", "*age", "*values", "followers", "waits at"], rows)


def _shared_streams(sources: Iterable[Snapshot]) -> Shown:
    rows: list[list[Shown]] = [
        [
            source["source"],
            _state(source["state"], None),
            _seconds(source["age"]),
            f"{source['updates']:,}",
            f"{source['followers']:,}",
            html.Code(source["line"] or "-"),
        ]
        for source in sources
    ]
    return _table(["source", "state", "*age", "*updates", "*followers", "waits at"], rows)


def _follower(follower: Snapshot) -> str:
    behind, dropped = follower["behind"], follower["dropped"]
    said = [f"{behind:,} behind" * bool(behind), f"{dropped:,} missed" * bool(dropped)]
    return ", ".join([follower["task"], *filter(None, said)])


def _ends(ends: Iterable[Snapshot]) -> Shown:
    rows: list[list[Shown]] = []
    for end in ends:
        name: list[Shown] = [end["callback"]]
        if end["traceback"]:
            name.append(html.Details([html.Summary("traceback"), html.Pre(end["traceback"])]))
        rows.append(
            [
                time.strftime("%H:%M:%S", time.localtime(end["at"])),
                name,
                _state(end["reason"], None),
                _seconds(end["seconds"]),
                f"{end['updates']:,}",
                "-" if end["cleanup"] is None else _seconds(end["cleanup"]),
            ]
        )
    return _table(["at", "stream", "reason", "*ran", "*updates", "*clean-up"], rows)


def _tasks(tasks: Iterable[Snapshot]) -> Shown:
    return html.Ul([html.Li(_task(task)) for task in tasks])


def _task(task: Snapshot) -> list[Shown]:
    line: Shown = html.Code(f"{task['name']} at {task['line'] or '-'}")
    return [line, _tasks(task["tasks"])] if task["tasks"] else [line]


def _table(columns: Sequence[str], rows: Iterable[Sequence[Shown]]) -> Shown:
    """A table; the names of columns of figures begin with an asterisk."""
    classes = ["figure" if name.startswith("*") else "" for name in columns]
    head = [html.Th(name.lstrip("*"), className=kind) for name, kind in zip(columns, classes, strict=True)]
    body = [html.Tr([html.Td(cell, className=kind) for cell, kind in zip(row, classes, strict=True)]) for row in rows]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(body)])


def _state(state: str, reason: str | None) -> Shown:
    return html.Span(state if reason is None else f"{state}: {reason}", className=f"state {state}")


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _bytes(size: int) -> str:
    return f"{size} B" if size < 1_000 else f"{size / 1_000:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"
