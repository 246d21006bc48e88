"""Code that says `dash` goes on when `flash` stands there: every attribute, every submodule, every way to write it."""

from __future__ import annotations

import json
import subprocess
import sys

import dash
import pytest

import flash

OWN_MEANING = {"Dash", "callback", "testing", "__version__"}
OF_EVERY_MODULE = {"__all__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__"}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", sorted(set(dir(dash)) - OWN_MEANING - OF_EVERY_MODULE - {"__builtins__", "__spec__"}))
def test_flash_has_every_attribute_that_dash_has(name: str) -> None:
    assert getattr(flash, name) is getattr(dash, name)


def test_every_submodule_of_dash_is_one_of_flash_the_same_and_unharmed() -> None:
    code = """if True:
        import importlib, json, pkgutil, sys, warnings
        warnings.simplefilter("ignore")
        import flash, dash
        names = {module.name for module in pkgutil.walk_packages(dash.__path__, "dash.", lambda name: None)}
        names = sorted(names - {"dash.testing"})
        seen, wrong = 0, []
        for name in names:
            alias = "flash" + name.removeprefix("dash")
            try:
                module = importlib.import_module(name if len(name) % 2 else alias)
            except BaseException:
                try:
                    importlib.import_module(name)
                except BaseException:
                    continue
                wrong.append(alias)
                continue
            seen += 1
            if importlib.import_module(alias) is not importlib.import_module(name):
                wrong.append(alias)
            if module.__name__ != name or module.__spec__.name != name:
                wrong.append(name)
        clobbered = [name for name in dir(dash.dcc) + dir(dash.html) if name[0].isupper()
                     and not isinstance(getattr(dash.dcc, name, None) or getattr(dash.html, name), type)]
        print(json.dumps([seen, wrong, clobbered]))"""
    seen, wrong, clobbered = json.loads(run(code))
    assert seen > 150
    assert wrong == []
    assert clobbered == []


def test_importing_flash_imports_of_dash_what_dash_with_its_quart_backend_does_and_no_more() -> None:
    code = """if True:
        import sys, dash, dash.backends._quart
        before = {name for name in sys.modules if name.startswith("dash.")}
        import flash
        print(*sorted({name for name in sys.modules if name.startswith("dash.")} - before))"""
    assert run(code).split() == []


def test_a_submodule_that_neither_has_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"flash\.no_such_module"):
        __import__("flash.no_such_module")
    with pytest.raises(ModuleNotFoundError, match=r"flash\.dcc\.no_such_module"):
        __import__("flash.dcc.no_such_module")
    with pytest.raises(AttributeError, match="module 'flash' has no attribute 'no_such_name'"):
        flash.no_such_name  # pyright: ignore[reportAttributeAccessIssue]


def test_flash_tells_its_own_version_and_that_of_dash() -> None:
    assert flash.__version__ != dash.__version__
    assert flash.dash_version == dash.__version__


def test_dir_lists_what_is_public() -> None:
    assert set(flash.__all__) <= set(dir(flash))
    assert {name for name in dir(flash) if name.startswith("_")} == {"__version__"}
    assert not {"nursery", "backend", "annotations", "TYPE_CHECKING", "share_modules"} & set(dir(flash))


WAYS = [
    "import {m} as dash; dash.dependencies.Input('a', 'b')",
    "import {m}.dependencies\n{m}.dependencies.Input('a', 'b')",
    "import {m}.dependencies as d; d.Input('a', 'b')",
    "from {m}.dependencies import Input, Output, State, MATCH, ALL, ALLSMALLER, ClientsideFunction",
    "import {m} as dash; dash._dash_renderer._set_react_version('18.3.1')",
    "from {m} import _dash_renderer",
    "from {m} import dash",
    "from {m}.dash import no_update",
    "import {m} as dash; dash.dash.no_update",
    "import {m}.dash_table as t; t.DataTable(id='t')",
    "from {m}.dash_table.Format import Format, Scheme, Group, Symbol",
    "from {m}.dash_table import DataTable, FormatTemplate; FormatTemplate.money(2)",
    "import {m} as dash; dash.dash_table.FormatTemplate.percentage(1)",
    "import {m} as dash; dash.dash_table.Format.Format(precision=2)",
    "from {m}.exceptions import PreventUpdate",
    "import {m} as dash; dash.exceptions.PreventUpdate",
    "from {m}.development.base_component import Component, _explicitize_args",
    "import {m}.html as html; html.Div()",
    "import {m}.dcc as dcc; dcc.Dropdown(['a'])",
    "from {m}.dcc import Dropdown; Dropdown(['a'])",
    "from {m}.dcc.Dropdown import Dropdown; Dropdown(['a'])\nimport {m} as dash; dash.dcc.Dropdown(['a'])",
    "import {m}.html.Div\n{m}.html.Div('a')",
    "from {m} import *\nhtml.Div(), dcc.Store(id='s'), Input('a', 'b')",
    "from {m}._callback import GLOBAL_CALLBACK_LIST, NoUpdate",
    "from {m}._callback_context import context_value",
    "import {m}._callback_context",
    "from {m}._utils import AttributeDict, create_callback_id",
    "from {m}._get_paths import get_relative_path",
    "from {m}._jupyter import JupyterDash",
    "from {m}._pages import PAGE_REGISTRY",
    "from {m}._no_update import NoUpdate",
    "from {m}._validate import validate_layout",
    "from {m}.background_callback.managers import BaseBackgroundCallbackManager",
    "from {m}.background_callback import DiskcacheManager, CeleryManager",
    "from {m}.long_callback import DiskcacheLongCallbackManager",
    "from {m}.types import RendererHooks",
    "from {m}.version import __version__",
    "from {m}.fingerprint import build_fingerprint",
    "from {m}.resources import Css, Scripts",
    "from {m}.testing.application_runners import import_app",
    "import {m}; {m}.testing",
    "import {m}.testing.wait as w; w.until",
    "import {m} as dash; dash.callback_context.triggered",
    "import {m} as dash; dash.no_update, dash.ctx, dash.page_registry, dash.page_container, dash.Patch()",
    "import {m} as dash; dash.get_asset_url, dash.register_page, dash.set_props, dash.hooks.layout",
    "import importlib; importlib.import_module('{m}.dcc').Graph()",
    "import pickle, {m}; pickle.loads(pickle.dumps({m}.dependencies.Input('a', 'b')))",
    "import copy, {m}.html as html; copy.deepcopy(html.Div('a'))",
    "import importlib.util; assert importlib.util.find_spec('{m}.testing')",
    "import importlib, {m}.version; importlib.reload({m}.version)",
    "import typing, {m}; typing.get_type_hints({m}.dependencies.Input.__init__)",
    "import inspect, {m}; inspect.getmembers({m})",
    "import unittest.mock as mock\nwith mock.patch('{m}.dcc.Store'): pass",
]
CALLS = [
    "app.server.config['SECRET_KEY'] = 'x'; app.server.secret_key = 'y'; server = app.server",
    "app.config.suppress_callback_exceptions = True",
    "app.config['suppress_callback_exceptions'] = True",
    "app.scripts.config.serve_locally = True; app.css.config.serve_locally = True",
    "app.css.append_css({{'external_url': 'https://example.org/a.css'}})",
    "app.scripts.append_script({{'external_url': 'https://example.org/a.js'}})",
    "app.index_string = '<html>{{%metas%}}{{%app_entry%}}{{%config%}}{{%scripts%}}{{%renderer%}}</html>'",
    "app.title = 'T'; app.logger.info('a'); app.renderer = 'var renderer = new DashRenderer();'",
    "app.layout = dash.html.Div([dash.dcc.Location(id='url'), dash.html.Div(id='content')])",
    "app.layout = lambda: dash.html.Div(id='a')",
    "app.validation_layout = dash.html.Div(id='a')",
    "app.layout = [dash.html.Div('a'), 'text']",
    "app.get_asset_url('a.png'), app.get_relative_path('/a'), app.strip_relative_path('/a')",
    "app.clientside_callback('x => x', dash.Output('a', 'b'), dash.Input('c', 'd'))",
    "app.enable_dev_tools(debug=False)",
    "app.run_server()",
    "app.long_callback(dash.Output('a', 'b'), dash.Input('c', 'd'))",
    "@app.server.route('/x')\ndef x(): return 'x'",
    "app.server.add_url_rule('/y', 'y', lambda: 'y')",
    "app.server.before_request(lambda: None); app.server.after_request(lambda response: response)",
    "app.server.errorhandler(404)(lambda error: 'gone')",
    "app.server.jinja_env, app.server.name, app.server.view_functions, app.server.url_map, app.server.logger",
    "app.callback(dash.Output('a', 'b'), [dash.Input('c', 'd')], [dash.State('e', 'f')])(lambda c, e: c)",
    "app.callback(output=dash.Output('a', 'b'), inputs=[dash.Input('c', 'd')])(lambda c: c)",
    "app.callback(dash.dependencies.Output('a', 'b'), [dash.dependencies.Input('c', 'd')])(lambda c: c)",
]
APPS = [f"import {{m}} as dash\napp = dash.Dash(__name__)\n{code}" for code in CALLS] + [
    "import {m} as dash\napp = dash.Dash()",
    "import {m} as dash\napp = dash.Dash(__name__, external_stylesheets=['a.css'], external_scripts=['a.js'])",
    "import {m} as dash\napp = dash.Dash(__name__, meta_tags=[{{'name': 'viewport', 'content': 'x'}}], title='T')",
    "import {m} as dash\napp = dash.Dash(__name__, url_base_pathname='/a/', assets_folder='x', update_title=None)",
    "import {m} as dash\napp = dash.Dash('name', server=False)",
    "import {m} as dash\nclass App(dash.Dash): pass\nApp(__name__)",
]


def outcome(code: str, module: str) -> str | None:
    try:
        exec(code.format(m=module), {"__name__": "__main__"})
    except Exception as error:
        return type(error).__name__
    return None


@pytest.mark.parametrize("code", WAYS + APPS)
def test_what_starts_on_dash_starts_on_flash(code: str) -> None:
    assert outcome(code, "flash") == outcome(code, "dash")
