"""The undocumented names of Dash, Hypercorn, Quart and Trio that Flash uses: an upgrade that drops one fails here."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import threading
from collections.abc import AsyncGenerator
from math import inf
from pathlib import Path

import dash
import hypercorn.trio.tcp_server
import pytest
import quart_trio
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, Handshake, WebsocketBuffer, WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, TrioSingleTask, WorkerContext
from quart import Request, Websocket
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from trio.testing import MockClock

import flash
from flash import Flash, _dash, _dash_patches, _hypercorn_http2, _quart
from flash._trio import (
    OpenScopes,
    forget_cancellation,
    is_cancelled,
    is_cancelled_from_outside,
    is_over,
    leave_scopes,
)
from flash.callbacks.components import CallbackComponent, Page
from flash.dash_json import to_json

PACKAGE = Path(flash.__file__).parent


@pytest.mark.parametrize("name", _dash.APP_NAMES)
def test_dash_apps_still_have(name: str) -> None:
    assert hasattr(dash.Dash(__name__), name)


@pytest.mark.parametrize("name", sorted(set(_dash.__all__) - {"APP_NAMES"}))
def test_the_boundary_still_finds(name: str) -> None:
    assert getattr(_dash, name) is not None


@pytest.mark.parametrize(
    "method",
    [
        "create_app",
        "setup_index",
        "setup_catchall",
        "setup_component_suites",
        "serve_component_suites",
        "serve_callback",
        "serve_websocket_callback",
        "register_callback_api_routes",
        "run",
    ],
)
def test_dashs_quart_backend_still_has_what_flash_replaces(method: str) -> None:
    base = inspect.getattr_static(_dash.QuartDashServer, method)
    assert base is not None


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (_dash_patches._callback, "create_callback_id"),
        (_dash_patches._callback, "_invoke_callback"),
        (_dash_patches._callback, "_async_invoke_callback"),
        (_dash_patches._callback_context, "_get_from_context"),
        (dash.callback_context, "set_props"),
        (dash.Dash, "_setup_server"),
        (_dash.Component, "_set_random_id"),
        (_dash.Component, "register"),
    ],
)
def test_dash_still_has_what_flash_replaces_in_it(owner: object, name: str) -> None:
    assert callable(getattr(owner, name))


def test_dashs_modules_still_call_their_encoder_by_one_name() -> None:
    flash.Flash(__name__)
    for name in ("dash._callback", "dash.dash", "dash._utils"):
        assert vars(importlib.import_module(name))["to_json"] is to_json, name


def test_quart_trio_still_serves_a_request_in_the_parts_that_flash_puts_together() -> None:
    assert callable(inspect.getattr_static(TrioASGIHTTPConnection, "_create_request_from_scope"))
    for name, last in (("handle_messages", "receive"), ("handle_request", "send")):
        method = inspect.getattr_static(TrioASGIHTTPConnection, name)
        assert inspect.iscoroutinefunction(method)
        assert [*inspect.signature(method).parameters] == ["self", "nursery", "request", last]


def test_quart_still_has_the_bodies_that_flash_fills_and_reads() -> None:
    for name in ("set_complete", "set_result"):
        assert callable(inspect.getattr_static(_quart.Body, name))
    body = _quart.DataBody(b"abc")
    assert (body.data, body.begin, body.end) == (b"abc", 0, 3)


def test_quart_still_lists_the_generators_of_while_serving() -> None:
    app = quart_trio.QuartTrio("app")
    assert _quart.while_serving_generators(app) == []

    @app.while_serving
    async def serving() -> AsyncGenerator[None, None]:
        yield

    assert [generator.__qualname__ for generator in _quart.while_serving_generators(app)] == [serving.__qualname__]


def test_quart_trio_still_takes_the_messages_of_a_websocket_in_a_method() -> None:
    assert inspect.iscoroutinefunction(inspect.getattr_static(TrioASGIWebsocketConnection, "handle_messages"))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (TCPServer, "protocol_send"),
        (TCPServer, "run"),
        (TCPServer, "_read_data"),
        (TCPServer, "_initiate_server_close"),
        (WSStream, "handle"),
        (WSStream, "_accept"),
        (WSStream, "_send_error_response"),
        (WSStream, "_send_wsproto_event"),
        (H2Protocol, "initiate"),
        (H2Protocol, "stream_send"),
        (H2Protocol, "_handle_events"),
        (Lifespan, "handle_lifespan"),
        (Lifespan, "wait_for_startup"),
        (Lifespan, "wait_for_shutdown"),
        (H2Protocol, "_flush"),
        (HTTPStream, "app_send"),
        (TrioSingleTask, "restart"),
        (TrioSingleTask, "stop"),
    ],
)
def test_hypercorn_still_has_what_flash_replaces(owner: type, name: str) -> None:
    assert inspect.iscoroutinefunction(inspect.getattr_static(owner, name))


def test_hypercorn_still_has_the_places_where_the_connections_of_a_worker_are_ended() -> None:
    context = WorkerContext(None)
    assert isinstance(context.terminate, EventWrapper)
    assert isinstance(context.terminated, EventWrapper)
    assert 'self.config.response_headers("h11")' in inspect.getsource(H11Protocol)


def test_hypercorn_still_gathers_the_fragments_of_a_message_in_a_buffer_with_a_bound() -> None:
    assert WebsocketBuffer(7).max_length == 7
    assert "self.buffer = WebsocketBuffer(" in inspect.getsource(WSStream)


def test_quart_still_asks_asyncio_for_threads_and_opens_files_where_flash_steps_in() -> None:
    import asyncio

    assert _quart._utils.asyncio.sleep is asyncio.sleep
    assert "asyncio.get_running_loop()" in inspect.getsource(_quart._utils.run_sync)
    assert "asyncio.get_running_loop()" in inspect.getsource(_quart._utils.run_sync_iterable)
    for name in _quart.OPENERS:
        assert callable(importlib.import_module(name).async_open)
    for name in _quart.SENDERS:
        assert callable(importlib.import_module(name).send_from_directory)


def test_hypercorn_still_has_the_option_that_bounds_a_shutdown() -> None:
    assert Config().graceful_timeout > 0


PLACES = {
    "dash": ("_dash.py", "_dash_patches.py", "_dash_reload_hash.py"),
    "quart": ("_quart.py",),
    "quart_trio": ("_quart.py",),
    "hypercorn": (
        "_hypercorn.py",
        "_hypercorn_patches.py",
        "_hypercorn_http2.py",
        "_hypercorn_websocket.py",
        "_hypercorn_worker.py",
    ),
    "trio": ("_trio.py",),
}
"""Of each package, the only files that may use what it does not document."""

DOCUMENTED = {
    "dash": {"dash.development.base_component"},
    "quart": {"quart.signals"},
    "quart_trio": {"quart_trio.wrappers"},
    "hypercorn": {"hypercorn.config", "hypercorn.trio"},
    "trio": {"trio.abc", "trio.lowlevel", "trio.from_thread", "trio.to_thread", "trio.socket", "trio.testing"},
}
"""The submodules that these packages document, and that every file may import from."""

DESCRIBED_BY_DASH = {CallbackComponent, Page}
"""The components, whose description for Dash `hidden_component` of `_dash.py` writes into them."""

SET_FOR_DASH = {"_request", "_ws_shutdown_event"}
"""Attributes that Dash reads of what it is given."""

OTHERS = {"os._exit", "sys._getframe"}
"""Names with an underscore that the standard library documents."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_given_in(source: str) -> set[str]:
    """The names that a file gives to something, other than by assigning to another's attribute."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


@functools.cache
def names_of_our_own() -> set[str]:
    return {name for path in PACKAGE.rglob("*.py") for name in names_given_in(path.read_text())}


@functools.cache
def names_of_others() -> set[str]:
    """The private names of the classes that Flash's classes inherit from, or that it is made of."""
    kinds: list[type] = [dash.Dash, _dash.QuartDashServer, _dash.Component, quart_trio.QuartTrio, Request, Websocket]
    kinds += [TrioASGIHTTPConnection, TrioASGIWebsocketConnection, TCPServer, H2Protocol, WSStream, trio.Nursery]
    return {name for kind in kinds for name in dir(kind) if is_private(name)} | SET_FOR_DASH


def private_names_used(source: str) -> list[str]:
    """What a file that is not one of `PLACES` uses of other packages though they do not document it."""
    ours, here, foreign, found = names_of_our_own(), names_given_in(source), names_of_others(), list[str]()

    def check_import(module: str, names: list[str]) -> None:
        package = module.partition(".")[0]
        if package in PLACES and module not in {package, *DOCUMENTED[package]}:
            found.append(module)
        elif package in PLACES:
            found.extend(f"{module}.{name}" for name in names if is_private(name))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                check_import(alias.name, [])
        elif isinstance(node, ast.ImportFrom) and not node.level:
            check_import(node.module or "", [alias.name for alias in node.names])
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            ours_alone = node.attr in here or (node.attr in ours and node.attr not in foreign)
            if ast.unparse(node) not in OTHERS and (not ours_alone or node.attr in SET_FOR_DASH):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
            module = re.fullmatch(rf"({'|'.join(PLACES)})((\.\w+)*)", name)
            if name in foreign or (module and any(map(is_private, module[2].split(".")))):
                found.append(repr(name))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_uses_private_names_of_others_but_the_one_place_of_each(path: Path) -> None:
    if path.parent != PACKAGE or path.name not in {name for names in PLACES.values() for name in names}:
        assert private_names_used(path.read_text()) == []


def overrides_of(kind: type) -> list[str]:
    """The private names of other packages' classes that a class of Flash's gives a meaning of its own."""
    bases = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in PLACES]
    own = [name for name in vars(kind) if is_private(name) and name != "_abc_impl"]
    return [name for name in own if any(name in vars(base) for base in bases)]


def test_no_class_overrides_private_methods_of_others_but_in_the_one_place_of_each() -> None:
    places = {name for names in PLACES.values() for name in names}
    for path in PACKAGE.rglob("*.py"):
        if path.name in places or path.name == "__main__.py":
            continue
        name = ".".join(("flash", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for kind in vars(importlib.import_module(name)).values():
            if isinstance(kind, type) and kind.__module__ == name and kind not in DESCRIBED_BY_DASH:
                assert overrides_of(kind) == [], f"{kind} in {path}"


def test_an_override_of_a_private_method_is_found() -> None:
    class App(dash.Dash):
        def _layout_value(self) -> None: ...

    assert overrides_of(App) == ["_layout_value"]


@pytest.mark.parametrize(
    ("package", "path"), [(package, PACKAGE / name) for package, names in PLACES.items() for name in names]
)
def test_the_one_place_of_a_package_imports_the_private_modules_of_no_other(package: str, path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            owner = module.partition(".")[0]
            if owner in PLACES and path.name not in PLACES[owner]:
                assert module in {owner, *DOCUMENTED[owner]}, f"{path.name} of {package} imports {module}"


@pytest.mark.parametrize(
    "source",
    [
        "from dash._callback import handle_callback",
        "import dash._utils",
        "from dash import _validate",
        "from dash.dash import Dash",
        "from quart.wrappers.response import DataBody",
        "from hypercorn.trio.tcp_server import TCPServer",
        "from trio import _threads",
        "app._got_first_request",
        "super()._setup_server()",
        "cast('Any', super())._config()",
        "self._create_request_from_scope(send)",
        "task._cancel_status",
        "nursery._nested_child_finished(None)",
        "name == 'dash._callback'",
        "getattr(app, '_setup_server')",
        "self._ws_shutdown_event = event",
    ],
)
def test_a_private_name_in_another_place_is_found(source: str) -> None:
    assert len(private_names_used(source)) == 1


def test_importing_flash_leaves_the_signal_handlers_alone() -> None:
    import subprocess
    import sys

    code = """if True:
        import signal
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        import flash
        print([signal.getsignal(number) for number in numbers] == before)"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_flash_is_a_dash_app() -> None:
    assert isinstance(Flash(__name__), dash.Dash)


async def test_trio_still_says_of_a_task_that_it_is_cancelled(autojump_clock: MockClock) -> None:
    task = trio.lowlevel.current_task()

    def agrees() -> bool:
        return is_cancelled(task) is (trio.current_effective_deadline() == -inf)

    assert not is_cancelled(task)
    with trio.move_on_after(1) as outer:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            assert is_cancelled(task)
            with trio.CancelScope(shield=True) as shield:
                await trio.lowlevel.checkpoint()
                assert agrees()
                assert not is_cancelled(task)
                shield.shield = False
                assert agrees()
                assert is_cancelled(task)
        assert not is_cancelled(task)
        await trio.sleep_forever()
    assert outer.cancelled_caught
    assert agrees()
    assert not is_cancelled(task)
    with trio.CancelScope(deadline=-inf):
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert agrees()
        assert is_cancelled(task)


async def test_trio_still_lets_a_thread_forget_a_cancellation() -> None:
    cancelled = threading.Event()
    log: list[str] = []

    def work() -> None:
        cancelled.wait(10)
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            log.append("cancelled")
        forget_cancellation()
        trio.from_thread.check_cancelled()
        log.append("forgotten")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        cancelled.set()
    assert log == ["cancelled", "forgotten"]


def test_hypercorn_still_has_what_flash_bounds_in_its_websockets_and_http2() -> None:
    handshake = Handshake([(b"sec-websocket-extensions", b"permessage-deflate")], "1.1")
    assert handshake.extensions == ["permessage-deflate"]
    handshake.extensions = None
    _, headers, _ = handshake.accept(None, [])
    assert not [value for name, value in headers if name == b"sec-websocket-extensions"]
    buffer = WebsocketBuffer(10)
    assert (buffer.value, buffer.length, buffer.max_length) == (None, 0, 10)
    assert isinstance(inspect.getattr_static(H2Protocol, "idle"), property)
    assert "self.stream_buffers[request.stream_id] = StreamBuffer(" in inspect.getsource(H2Protocol)
    assert "self.handshake.accept(" in inspect.getsource(WSStream._accept)
    assert "self.idle_task = TrioSingleTask()" in inspect.getsource(hypercorn.trio.tcp_server)
    assert ASGIWebsocketState.HANDSHAKE


async def test_trio_still_lets_the_scopes_of_a_task_be_left_from_outside_of_their_blocks(
    autojump_clock: MockClock,
) -> None:
    task = trio.lowlevel.current_task()
    before = OpenScopes.of(task)
    assert before.since(task) == []
    scope = trio.CancelScope()
    scope.__enter__()
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    [child] = nursery.child_tasks
    assert before.since(task) == [nursery.cancel_scope, scope]
    assert not is_cancelled_from_outside(nursery.cancel_scope)
    scope.cancel()
    assert is_cancelled_from_outside(nursery.cancel_scope)
    assert await leave_scopes(before) == []
    assert OpenScopes.of(task) == before
    assert is_over(child)
    assert not is_over(task)
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (
            "dash-renderer/build/dash_renderer.min.js",
            [
                "dash_stores",
                "dash_component_api",
                "__dashprivate_childrenProps",
                "Callbacks.AddExecuted",
                "inputMap",
                "inputPatterns",
                "Callbacks.AddRequested",
                "ON_PROP_CHANGE",
                "ON_ERROR",
                "executionResult",
                "changedPropIds",
                "clientside_function",
                "requested",
                "prioritized",
                "blocked",
                "executing",
                "watched",
                "__dash_patch_update",
            ],
        ),
        ("dcc/async-graph.js", ["_queue", "extendData", "prependData", "dash-graph--pending"]),
    ],
)
def test_dashs_scripts_still_have_what_the_page_uses_of_them(script: str, names: list[str]) -> None:
    text = (Path(dash.__file__).parent / script).read_text()
    assert [name for name in names if name not in text] == []


def test_reacts_scripts_still_have_what_the_page_uses_of_them() -> None:
    for script in (Path(dash.__file__).parent / "deps").glob("react-dom@*.min.js"):
        text = script.read_text()
        assert "flushSync" in text, script
        assert "__reactFiber$" in text or "__reactInternalInstance$" in text, script


async def test_hypercorn_still_has_buffers_as_flash_bounds_them() -> None:
    assert _hypercorn_http2.BUFFER_HIGH_WATER == 32_768
    buffer = _hypercorn_http2.BufferWithTimeout(EventWrapper)
    await buffer.push(b"x")
    assert bytes(buffer.buffer) == b"x"
    assert await buffer.pop(0) == b""
    assert (buffer._complete, buffer._is_empty.is_set()) == (False, False)
    assert await buffer.pop(10) == b"x"
    assert buffer._is_empty.is_set()


DASHS_NAMES_IN_SCRIPTS = re.compile(
    r"dash_stores|dash_component_api|dash_clientside|dash_ag_grid\.|__dash\w*|_dash-|\bReact\w*|__react|\bgetState\b"
    r"|\bdispatch\b|\bON_[A-Z]|Callbacks\.|\bpayload\b|executionResult|changedPropIds|allow_optional|inputMap|\bhooks\b"
    r"|\bpaths\b|callback_resolved|requests_pathname_prefix|csrf_\w+|\b_queue\b|dash-graph--|stateNode|\bpropTypes\."
)


@pytest.mark.parametrize("script", sorted((PACKAGE / "client").glob("*.js")), ids=lambda script: script.name)
def test_only_one_script_knows_dashs_renderer(script: Path) -> None:
    code = re.sub(r"/\*.*?\*/|(?<=\s)//[^\n]*", "", script.read_text(), flags=re.DOTALL)
    found = DASHS_NAMES_IN_SCRIPTS.findall(code)
    whole_window = re.findall(r"const (.+) = +\(window\);", code)
    if script.name == "renderer.js":
        assert {"dash_stores", "dash_component_api", "dash_clientside"} <= set(found)
    else:
        assert found == []
        # Of all that Dash and its components leave in `window`, the other scripts see what Flash's own leave there.
        assert set(whole_window) <= {"{flash}"}
