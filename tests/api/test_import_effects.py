"""What `import flash` changes in its process is what docs/differences.md lists, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import flash

DOCS = Path(__file__).parents[2] / "docs" / "differences.md"

PROGRAM = """if True:
    import importlib, logging, os, signal, sys
    import dash, dash.backends._quart, hypercorn.trio.run, quart, quart_trio, trio, werkzeug
    from dash.development.base_component import Component, ComponentRegistry

    PACKAGES = ("dash", "hypercorn", "quart", "quart_trio", "trio", "werkzeug")

    def of_modules():
        things = {}
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in PACKAGES and module is not None:
                for key, value in list(vars(module).items()):
                    things[f"{name}.{key}"] = id(value)
                    if isinstance(value, type) and value.__module__ == name:
                        things.update({f"{name}.{key}.{one}": id(of) for one, of in list(vars(value).items())})
        return things

    def of_process():
        loggers = ("hypercorn.access", "hypercorn.error", "quart.app", "quart.serving", "dash.dash")
        return {
            "sys.meta_path": [*map(repr, sys.meta_path)],
            "signal": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            "logging": [(len(logging.getLogger(x).filters), len(logging.getLogger(x).handlers)) for x in loggers],
            "ComponentRegistry": sorted(ComponentRegistry.registry),
            "asyncgen_hooks": sys.get_asyncgen_hooks(),
            "excepthook": sys.excepthook,
        }

    forks = []
    register = os.register_at_fork
    def noting(**functions):
        forks.append(sys._getframe(1).f_globals["__name__"].partition(".")[0])
        register(**functions)
    os.register_at_fork = noting
    modules, process = of_modules(), of_process()
    BEFORE
    later, after = of_modules(), of_process()
    changed = {name for name in modules if later.get(name) != modules[name]}
    changed |= {name for name in process if after[name] != process[name]}
    if "flash" in forks:
        changed.add("os.register_at_fork")
    if sys.modules.get("flash.dcc") is dash.dcc:
        changed.add("sys.modules")
    print(*sorted(changed), sep="\\n")"""


def changed_by(*statements: str) -> set[str]:
    code = PROGRAM.replace("BEFORE", "; ".join(statements))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def listed() -> set[str]:
    section = DOCS.read_text().split("When `flash` is imported", 1)[1].split("When the first callback", 1)[0]
    names: set[str] = set()
    for row in re.findall(r"^\| (`.*?): ", section, re.MULTILINE):
        names |= set(re.findall("`(.*?)`", row))
    return names


def test_the_documents_list_what_an_import_changes() -> None:
    assert changed_by("import flash", "flash.Flash") == listed()


def test_the_names_of_flash_bring_its_modules_when_the_first_is_asked_for() -> None:
    program = "import sys, flash; print('trio' in sys.modules); flash.every; print('trio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_no_module_stands_where_a_name_is_exported() -> None:
    files = {path.stem for path in Path(flash.__file__).parent.iterdir()}
    assert not files & set(flash.__all__)


def test_a_change_that_is_not_listed_would_be_found() -> None:
    changed = changed_by("import flash", "flash.Flash", "quart.Quart.handle_request = None")
    assert "quart.app.Quart.handle_request" in changed - listed()
    assert "dash._callback.create_callback_id" in changed_by("import flash", "flash.Flash()") - listed()
