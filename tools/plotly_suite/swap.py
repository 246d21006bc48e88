"""Put the class under test in the place of `dash.Dash`.

Runs in every Python process of the suite, before any of its tests is imported. `PLOTLY_SUITE_BACKEND` names what is
under test: `flask` changes nothing, `quart` is Dash with its backend on Quart, `flash` is `flash.Flash`.

Tests that name a backend of Dash's (`Dash(backend="fastapi")`) are not about that backend by and large; the two swaps
take the name away. Those that import from `flask` what Flash apps import from `quart` get that (`flask_face`), and
`asyncio.sleep` sleeps under Trio.
"""

from __future__ import annotations

import os
from typing import Any

BACKENDS = ("flask", "quart", "flash")


def install() -> None:
    """Swap, once per process."""
    backend = os.environ["PLOTLY_SUITE_BACKEND"]
    if backend not in BACKENDS:
        raise ValueError(f"PLOTLY_SUITE_BACKEND is to be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend != "flask":
        import dash

        swapped = _quart(dash.Dash) if backend == "quart" else _flash()
        dash.Dash = dash.dash.Dash = swapped


def _quart(original: Any) -> Any:
    class QuartDash(original):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "backend": "quart"})  # pyright: ignore[reportUnknownMemberType]

    return QuartDash


def _flash() -> Any:
    from flash import Flash
    from flash.server.backend import FlashBackend, FlashServer

    from . import flask_face

    _let_asyncio_sleep_on_trio()
    flask_face.put_on(FlashServer)
    flask_face.put_in_place_of_flask(FlashServer)
    flask_face.honour_patched_run(FlashBackend)

    class SwappedFlash(Flash):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            if isinstance(options.get("backend"), str):
                del options["backend"]
            super().__init__(*arguments, **options)

    SwappedFlash.__name__ = SwappedFlash.__qualname__ = "Flash"
    return SwappedFlash


def _let_asyncio_sleep_on_trio() -> None:
    """The one function of asyncio that the tests' callbacks await."""
    import asyncio

    import sniffio
    import trio

    sleep = asyncio.sleep

    async def either(delay: float, result: Any = None) -> Any:
        if sniffio.current_async_library() == "trio":
            await trio.sleep(delay)
            return result
        return await sleep(delay, result)

    asyncio.sleep = either
