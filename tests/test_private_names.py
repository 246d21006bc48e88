"""Each package's undocumented names stand in the one place for them: no other file of Flash uses any."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from pathlib import Path

import dash
import pytest
import quart_trio
import trio
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import TCPServer
from quart import Request, Websocket
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection

import flash
from flash import _dash
from flash.callbacks.components import CallbackComponent, Page

PACKAGE = Path(flash.__file__).parent


PLACES = {
    "dash": (
        "_dash.py",
        "_dash_context.py",
        "_dash_notebook.py",
        "_dash_patches.py",
        "_dash_reload_hash.py",
        "_dash_signing_secret.py",
    ),
    "flask": ("_flask.py",),
    "quart": ("_quart.py",),
    "quart_trio": ("_quart.py",),
    "hypercorn": (
        "_hypercorn.py",
        "_hypercorn_patches.py",
        "_hypercorn_http1.py",
        "_hypercorn_http2.py",
        "_hypercorn_messages.py",
        "_hypercorn_websocket.py",
        "_hypercorn_worker.py",
    ),
    "trio": ("_trio.py",),
}
"""Of each package, the only files that may use what it does not document."""

DOCUMENTED = {
    "dash": {"dash.development.base_component", "dash.testing"},
    "flask": {"flask.sessions"},
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

OTHERS = {"os._exit", "sys._current_frames", "sys._getframe"}
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
