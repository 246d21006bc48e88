"""Patches Dash, for all apps of the process, Flash's or not.

Dash has no hooks for these changes. It calls the functions by their names in its modules, so they are replaced there.
`patch_once` does so when the first callback is declared with one of Flash's decorators or the first app is made,
whichever comes first; `use_encoder` when the first app is made. `docs/differences.md` lists the changes.
`tests/private_names/test_dash.py` fails with the name when an upgrade drops one that this module uses.
"""
# Dash is typed in part only, and most of this is private on purpose.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutine
from pathlib import Path
from typing import Any, cast

import dash
from dash import _callback, _callback_context, _utils, exceptions

from ._dash import Component, PreventUpdate
from .user_code.failures import read_failure
from .user_code.threads import run_async

_to_json = _utils.to_json

# Kept here, as a program may have put `Flash` in its place by the time at which the first app is made.
_Dash = dash.Dash

_PACKAGES = (Path(dash.__file__).parent, Path(__file__).parent)


_patched = False


def patch_once(check: Callable[[dash.Dash], None]) -> None:
    """Patch Dash for the callbacks and apps of Flash. Only the first call does anything.

    Args:
        check: is called with each app, Flash's or not, before the app takes its callbacks.
    """
    global _patched  # noqa: PLW0603 - one process, one Dash
    if not _patched:
        _patched = True
        _identify_bare_callbacks()
        _explain_set_props()
        _read_failures_of_callbacks()
        _before_set_up(check)


def _identify_bare_callbacks() -> None:
    """Identify callbacks without Output and Input by the line of the user's code, as Dash does.

    Dash takes the first frame outside its own package. With Flash that is a frame of Flash, the same for all.
    """
    module: Any = _callback
    original: Callable[..., str] = module.create_callback_id

    def create_callback_id(output: Any, inputs: Any, no_output: bool = False) -> str:
        if inputs or not no_output:
            return original(output, inputs, no_output)
        frame = sys._getframe(1)
        while frame.f_back is not None and any(map(Path(frame.f_code.co_filename).is_relative_to, _PACKAGES)):
            frame = frame.f_back
        return hashlib.sha256(f"{frame.f_code.co_filename}:{frame.f_lineno}".encode()).hexdigest()

    module.create_callback_id = create_callback_id


def _explain_set_props() -> None:
    """Make the error of `set_props` outside of callbacks say what to do instead."""
    context: Any = dash.callback_context
    original: Callable[..., None] = context.set_props

    def set_props(component_id: Any, props: Any) -> None:
        try:
            original(component_id, props)
        except (LookupError, exceptions.MissingCallbackContextException):
            raise exceptions.MissingCallbackContextException(
                f"set_props({component_id!r}, ...) was called where no callback runs, in a thread or a task of the "
                "app's own: there is no page to send it to. A thread that a callback starts has the callback's context "
                "if it is started by trio.to_thread.run_sync, or runs contextvars.copy_context().run. What an app "
                "finds out by itself, an event callback of each page yields: see docs/mistakes.md."
            ) from None

    def get_from_context(name: str, default: Any) -> Any:
        # A thread that the app has started has no context at all.
        try:
            return get(name, default)
        except LookupError:
            return default

    get: Callable[[str, Any], Any] = _callback_context._get_from_context
    _callback_context._get_from_context = get_from_context
    context.set_props = set_props


def _before_set_up(check: Callable[[dash.Dash], None]) -> None:
    """Call `check` with each app, Flash's or not, before the app takes its callbacks."""
    original = _Dash._setup_server

    @wraps(original)
    def _setup_server(self: dash.Dash) -> None:
        check(self)
        original(self)

    _Dash._setup_server = _setup_server


def _read_failures_of_callbacks() -> None:
    """Pass exceptions of callbacks through `read_failure` before Dash handles them and calls error handlers.

    Also await the coroutine that a plain function returns, such as an async one under a decorator that is not async.
    """
    module: Any = _callback
    plain: Callable[..., Any] = module._invoke_callback
    awaited: Callable[..., Any] = module._async_invoke_callback

    def invoke(func: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            result = plain(func, *args, **kwargs)
            return run_async(_wait_for, result) if iscoroutine(result) else result
        except Exception as error:
            raise_if_other(error)
            raise

    async def invoke_async(func: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await awaited(func, *args, **kwargs)
        except Exception as error:
            raise_if_other(error)
            raise

    def raise_if_other(error: Exception) -> None:
        """Raise what an exception is read as, unless that is the exception itself."""
        failure = read_failure(error, (PreventUpdate,))
        if failure is not error:
            try:
                raise failure
            finally:
                # Its traceback leads here. It would refer to itself, and all of the request would wait for Python to
                # look for garbage.
                del failure, error

    module._invoke_callback = invoke
    module._async_invoke_callback = invoke_async


async def _wait_for(coroutine: Any) -> Any:
    return await coroutine


def let_stand_for_component(kind: type[Any], id_of: Callable[[Any], str]) -> None:
    """Let instances of `kind` stand for a component in an Input, State or Output, as components do.

    Dash checks whether an argument is a component, and gets its id with the method `_set_random_id`.
    """
    kind._set_random_id = id_of
    cast("Any", Component).register(kind)


def use_encoder(to_json: Callable[[Any], str]) -> None:
    """Have Dash encode layouts and the results of callbacks with `to_json`."""
    for name, module in sys.modules.copy().items():
        if name.partition(".")[0] == "dash" and vars(module).get("to_json") is _to_json:
            vars(module)["to_json"] = to_json
