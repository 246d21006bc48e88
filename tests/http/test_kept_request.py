"""What the code of a stream can ask of the request that started it, which is over, and was kept packed."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar, cast

import quart
import trio

from flash import Flash, Input, Output, State, Update, callback, ctx, dcc, html, stream_props
from flash.asgi.kept_request import KeptRequest
from flash.callbacks.stream_context import KeptContext
from tests.http.servers import Serve
from tests.support.live_objects import live_objects

T = TypeVar("T")


class Shared:
    """Something that a middleware puts into the scope of a request."""


async def told(serve: Serve, app: Flash, name: str = "Ada") -> dict[str, Any]:
    """What the stream of `go` shows in `out`."""
    page = await (await serve(app)).page()
    page.client.cookies.set("seen", "yes", domain="127.0.0.1")
    page.client.headers["X-Test"] = "here"
    events = await page.connect()
    page.set("name", value=name)
    await page.start("go")
    await events.expect("open")
    shown: dict[str, Any] = (await events.expect("props"))["props"][0][1]["children"]
    return shown


def app_with(show: Any, *states: State) -> Flash:
    app = Flash(__name__)
    app.server.secret_key = "secret"
    app.layout = [html.Button(id="go"), dcc.Input(id="name", value="Ada"), html.Div(id="out")]
    app.event_callback(Input("go", "n_clicks"), *states)(show)
    return app


async def wait_until_kept() -> None:
    """Return when the request is over: its stream is all that is left of it."""
    await trio.testing.wait_all_tasks_blocked(0.05)


class MadeSince(Generic[T]):
    """Finds the objects of a class that were made after this one: servers of earlier tests may have left some.

    It keeps those that were there, so that no new object can be taken for one of them.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._before = live_objects(kind)

    def __call__(self) -> list[T]:
        before = set(map(id, self._before))
        return [kept for kept in live_objects(self._kind) if id(kept) not in before]


async def test_a_stream_can_ask_for_all_of_the_request_that_a_hook_has_seen(serve: Serve) -> None:
    seen: dict[str, object] = {}
    shared, user = Shared(), Shared()

    def ask() -> dict[str, object]:
        request = cast("Any", quart.request)
        return {
            "url": request.url,
            "path": request.full_path,
            "method": request.method,
            "endpoint": request.endpoint,
            "arguments": request.view_args,
            "cookie": request.cookies["seen"],
            "headers": [*request.headers],
            "address": request.remote_addr,
            "type": request.content_type,
            "json": request.is_json,
            "scope": request.scope["headers"],
            "own": request.user is user,
            "note": request.note,
            "shared": request.scope["tests.shared"] is shared,
            "session": quart.session["name"],
            "g": quart.g.value,
            "app": quart.current_app.name,
            "remote": request.headers["Remote-Addr"],
            "hook": request.headers["X-Hook"],
            "there": quart.has_request_context(),
        }

    async def show(clicks: int) -> AsyncIterator[Update]:
        await wait_until_kept()
        yield stream_props("out", {"children": {name: value == seen[name] for name, value in ask().items()}})

    app = app_with(show)

    @app.server.before_request
    async def mark() -> None:
        request = cast("Any", quart.request)
        request.user, request.note, request.remote_addr = user, "a note", "10.0.0.9"
        request.headers["X-Hook"] = "was here"
        request.scope["tests.shared"] = shared
        quart.session["name"], quart.g.value = "Ada", "kept"
        if request.path == "/_dash-update-component":
            seen.update(ask())

    shown = await told(serve, app)
    assert len(shown) == len(seen)
    assert [name for name, same in shown.items() if not same] == []


async def test_what_a_stream_changes_stays_changed(serve: Serve) -> None:
    async def show(clicks: int) -> AsyncIterator[Update]:
        await wait_until_kept()
        request = cast("Any", quart.request)
        quart.g.count = 1
        request.note = "noted"
        quart.g.count += 1
        quart.session["name"] = "Ada"
        note = await quart.copy_current_request_context(note_of_request)()
        yield stream_props("out", {"children": {"note": note, "g": quart.g.count, "session": quart.session["name"]}})

    async def note_of_request() -> object:
        return cast("Any", quart.request).note

    assert await told(serve, app_with(show)) == {"note": "noted", "g": 2, "session": "Ada"}


def context_fields() -> dict[str, Any]:
    """All that `ctx` has, but for what a stream has of its own."""
    return {
        "inputs": ctx.inputs,
        "states": ctx.states,
        "triggered": ctx.triggered,
        "triggered_id": ctx.triggered_id,
        "triggered_prop_ids": ctx.triggered_prop_ids,
        "args_grouping": ctx.args_grouping,
        "outputs_grouping": ctx.outputs_grouping,
        "outputs_list": ctx.outputs_list,
        "inputs_list": ctx.inputs_list,
        "states_list": ctx.states_list,
        "using": [ctx.using_args_grouping, ctx.using_outputs_grouping],
        "cookie": ctx.cookies["seen"],
        "header": ctx.headers["X-Test"],
        "path": ctx.path,
        "args": dict(ctx.args),
        "remote": ctx.remote,
        "origin": ctx.origin,
        "custom": ctx.custom_data,
    }


async def test_ctx_is_the_same_whether_it_was_packed_or_too_large_for_that(serve: Serve) -> None:
    kept: list[int] = []
    contexts = MadeSince(KeptContext)

    async def show(clicks: int, name: str) -> AsyncIterator[Update]:
        await wait_until_kept()
        kept.append(len(contexts()))
        fields = context_fields()
        assert ctx.states == {"name.value": name}
        assert ctx.args_grouping[1]["value"] == name
        shorter = {**fields, "states": None, "states_list": None, "args_grouping": fields["args_grouping"][:1]}
        yield stream_props("out", {"children": shorter})

    small = await told(serve, app_with(show, State("name", "value")))
    large = await told(serve, app_with(show, State("name", "value")), name="a" * 100_000)
    assert small == large
    assert kept[0] == 1
    assert small["inputs"] == {"go.n_clicks": 1}
    assert small["remote"] == "127.0.0.1"


async def test_a_streaming_callback_keeps_its_outputs_in_ctx(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def show(clicks: int) -> AsyncIterator[Any]:
        await wait_until_kept()
        yield {"outputs": ctx.outputs_list, "id": ctx.triggered_id}

    shown = await told(serve, app)
    assert shown == {"outputs": {"id": "out", "property": "children"}, "id": "go"}


async def test_a_stream_that_asks_for_nothing_keeps_little(serve: Serve) -> None:
    sizes: list[int] = []
    requests, kept_requests = MadeSince(quart.Request), MadeSince(KeptRequest)

    async def show(clicks: int) -> AsyncIterator[Update]:
        await wait_until_kept()
        assert not [kept for kept in requests() if kept.path == "/_dash-update-component"]
        (request,) = kept_requests()
        sizes.append(sum(len(part) for part in gc.get_referents(request) if isinstance(part, bytes)))
        yield stream_props("out", {"children": {}})

    await told(serve, app_with(show))
    assert sizes
    assert sizes[0] < 1_000
