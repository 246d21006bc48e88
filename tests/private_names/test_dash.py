"""The undocumented names of Dash that Flash uses: an upgrade that drops one fails here, by name."""

from __future__ import annotations

import importlib
import inspect

import dash
import pytest

import flash
from flash import Flash, _dash, _dash_notebook, _dash_patches
from flash.dash_json import to_json


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
        (_dash_notebook._jupyter, "make_server"),
        (_dash_notebook._notebook, "configure_callback_exception_handling"),
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


def test_dash_still_tells_a_notebook_from_a_program() -> None:
    assert _dash_notebook._notebook.active is False
