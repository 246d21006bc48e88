"""Which scripts of Flash's a page loads, and in which order.

    client/*.js ── a page with dev tools, or an app that runs from a checkout: each as it is written
         └─ joined and minified when the package is built (`hatch_build.py`) ── client/page.js ── any other page

A script that a page needs seldom is loaded by another script, when it does: it is one of `LATER`.
"""

from __future__ import annotations

from pathlib import Path

PAGE = (
    "renderer.js",
    "renderer_set_props.js",
    "wire.js",
    "next_frame.js",
    "mistakes.js",
    "busy_components.js",
    "updates.js",
    "presence.js",
    "reconnect.js",
    "streams.js",
    "inbox.js",
    "control_socket.js",
    "requests.js",
    "carrier.js",
    "elsewhere.js",
    "link_states.js",
    "conditions.js",
    "resume.js",
    "link.js",
    "callback_fetch.js",
)
"""The scripts of a page, in the order in which they are loaded."""

LATER = ("mistake_checks.js",)
"""The scripts that others load."""

BUILT = "page.js"
"""The scripts of a page as one, in a package that was built."""

CODINGS = {"br": ".br", "gzip": ".gz"}
"""The encodings in which that is there, too, the better one first, and how the names of their files end."""

CLIENT = Path(__file__).parent / "client"


def for_dash() -> list[dict[str, object]]:
    """What Dash is told of the scripts: `_js_dist`."""
    written = [f"client/{name}" for name in PAGE]
    served = f"client/{BUILT}" if (CLIENT / BUILT).exists() else written
    return [
        {"relative_package_path": served, "dev_package_path": written, "namespace": "flash"},
        *({"relative_package_path": f"client/{name}", "dynamic": True, "namespace": "flash"} for name in LATER),
    ]


def is_built(path: str) -> bool:
    """Whether a file of this package, whose name may have a fingerprint, is the built script."""
    stem, _, rest = path.partition(".")
    return f"{stem}.js" == f"client/{BUILT}" and "/" not in rest


def built_in(coding: str) -> bytes:
    """The built script in one of CODINGS."""
    return (CLIENT / f"{BUILT}{CODINGS[coding]}").read_bytes()
