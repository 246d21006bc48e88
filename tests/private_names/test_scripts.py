"""What the page uses of the scripts of Dash and React, and in which script: an upgrade that drops a name fails here."""

from __future__ import annotations

import re
from pathlib import Path

import dash
import pytest

import flash

PACKAGE = Path(flash.__file__).parent


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


DASHS_NAMES_IN_SCRIPTS = re.compile(
    r"dash_stores|dash_component_api|dash_clientside|dash_ag_grid\.|__dash\w*|_dash-|\bReact\w*|__react|\bgetState\b"
    r"|\bdispatch\b|\bON_[A-Z]|Callbacks\.|\bpayload\b|executionResult|changedPropIds|allow_optional|inputMap|\bhooks\b"
    r"|\bpaths\b|callback_resolved|requests_pathname_prefix|csrf_\w+|\b_queue\b|dash-graph--|stateNode|\bpropTypes\."
)


@pytest.mark.parametrize("script", sorted((PACKAGE / "client").glob("*.js")), ids=lambda script: script.name)
def test_only_the_scripts_of_the_renderer_know_dashs_names(script: Path) -> None:
    code = re.sub(r"/\*.*?\*/|(?<=\s)//[^\n]*", "", script.read_text(), flags=re.DOTALL)
    found = DASHS_NAMES_IN_SCRIPTS.findall(code)
    whole_window = re.findall(r"const (.+) = +\(window\);", code)
    if script.name == "renderer.js":
        assert {"dash_stores", "dash_component_api"} <= set(found)
    elif script.name == "renderer_set_props.js":
        assert {"dash_stores", "dash_clientside"} <= set(found)
    else:
        assert found == []
        # Of all that Dash and its components leave in `window`, the other scripts see what Flash's own leave there.
        assert set(whole_window) <= {"{flash}"}
