"""Adds to a wheel the scripts of a page as one that is joined, minified and compressed: `flash/page_scripts.py`.

A checkout that is installed in place (`pip install -e`) has none, so that what runs there is what is written.
"""

from __future__ import annotations

import gzip
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def build(package: Path) -> dict[str, bytes]:
    """The files to add to the folder `client` of a package, by name."""
    import brotli
    import minify

    scripts = runpy.run_path(str(package / "page_scripts.py"))
    written = "\n".join((package / "client" / name).read_text(encoding="utf-8") for name in scripts["PAGE"])
    script = minify.string("application/javascript", written).encode()
    name: str = scripts["BUILT"]
    # mtime=0: the same scripts make the same file.
    return {name: script, f"{name}.br": brotli.compress(script), f"{name}.gz": gzip.compress(script, 9, mtime=0)}


class PageScript(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        try:
            files = build(Path(self.root) / "flash")
        except ImportError as error:
            self.app.display_warning(f"The scripts of a page are not minified: {error}.")
            return
        self._folder = tempfile.TemporaryDirectory()
        for name, content in files.items():
            path = Path(self._folder.name) / name
            path.write_bytes(content)
            build_data["force_include"][str(path)] = f"flash/client/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()
