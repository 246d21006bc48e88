"""Makes every submodule of Dash importable from `flash` as well: the same module object under a second name.

    import flash.dcc ── sys.modules ── dash.dcc
    import flash.testing.wait ── this finder ── imports dash.testing.wait ── sys.modules["flash.testing.wait"]

The modules that `dash` has loaded when `flash` is imported are entered into `sys.modules` at once. That is needed:
Python binds a module that it imports to its parent, so that importing `flash.dcc.Dropdown` anew would put the module in
the place of the class `dcc.Dropdown`. A module that is not loaded yet is imported when somebody asks for it. A module
of Flash's own goes before one of Dash's with the same name, as `flash.testing` does before `dash.testing`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PACKAGE = __name__.partition(".")[0]
_OWN, _DASHS = _PACKAGE + ".", "dash."


def share_modules() -> None:
    """Make the submodules of `dash` importable under the name of this package."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # In front: another finder would look at the folder of `flash.dcc`, and load a second copy of what is there.
        sys.meta_path.insert(0, _Finder())
    _share_loaded()


def _share_loaded() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(_DASHS):
            shared = _OWN + name.removeprefix(_DASHS)
            if shared not in sys.modules and _own(shared) is None:
                sys.modules[shared] = module


@cache
def _own(name: str) -> ModuleSpec | None:
    """The spec of a submodule, or of a submodule of one, if it is one of Flash's files."""
    parent = name.rpartition(".")[0]
    if parent == _PACKAGE:
        path = list(sys.modules[_PACKAGE].__path__)
    else:
        above = _own(parent)
        path = [] if above is None else list(above.submodule_search_locations or ())
    return PathFinder.find_spec(name, path)


class _Finder(MetaPathFinder):
    """Finds the module `dash.x` when `flash.x` is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_OWN):
            return None
        parent = fullname.rpartition(".")[0]
        if parent == _PACKAGE or sys.modules[parent].__name__ == parent:
            # In a package of Flash's own: only what is not there can be one of Dash's.
            found = PathFinder.find_spec(fullname, path)
            if found is not None:
                return found
        try:
            original = importlib.util.find_spec(_DASHS + fullname.removeprefix(_OWN))
        except ModuleNotFoundError:
            # It would be in a package that Flash has and Dash has not.
            return None
        if original is None:
            return None
        return ModuleSpec(fullname, _Alias(original.name), is_package=original.submodule_search_locations is not None)


class _Alias(Loader):
    """Gives the module that is already there under its own name, unchanged."""

    def __init__(self, original: str) -> None:
        self._original = original
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._original)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Python has put the spec of the second name into the module.
        module.__spec__ = self._spec
        # It may have imported submodules of its own.
        _share_loaded()
