"""`import flash` can stand where `import dash` stood."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import dash
import pytest

import flash

ROOT = Path(__file__).parents[2]

OWN = {
    "AsyncioCancelled",
    "BufferOverrun",
    "EndReason",
    "EventCallback",
    "Feed",
    "FeedFailed",
    "FeedInfo",
    "FeedOverrun",
    "FeedUnavailable",
    "Flash",
    "FlashError",
    "Follower",
    "FollowerInfo",
    "ForeignCancellation",
    "InvalidEventCallback",
    "InvalidFeed",
    "InvalidOption",
    "InvalidUpdate",
    "RequestRefused",
    "SharedStreamFailed",
    "SharedStreamInfo",
    "SharedStreamOverrun",
    "SharedStreamUnavailable",
    "StreamCancelled",
    "StreamInfo",
    "Update",
    "Watched",
    "WrongServer",
    "cleanup",
    "dash_version",
    "event_callback",
    "every",
    "feed",
    "on_asyncio",
    "stream_props",
}


@pytest.mark.parametrize("name", sorted(set(dash.__all__) - {"Dash", "__version__", "callback"}))
def test_what_dash_exports_flash_exports(name: str) -> None:
    assert getattr(flash, name) is getattr(dash, name)
    assert name in flash.__all__


def test_dash_is_flash() -> None:
    assert flash.Dash is flash.Flash
    assert issubclass(flash.Flash, dash.Dash)


@pytest.mark.parametrize("name", sorted(OWN))
def test_flash_exports_its_own_names(name: str) -> None:
    assert hasattr(flash, name)
    assert name in flash.__all__


def test_flash_exports_nothing_twice_and_nothing_that_is_not_there() -> None:
    assert len(flash.__all__) == len(set(flash.__all__))
    assert set(flash.__all__) == set(dash.__all__) | OWN
    for name in flash.__all__:
        assert hasattr(flash, name)


@pytest.mark.parametrize("module", ["dcc", "html", "dash_table", "dependencies", "exceptions"])
def test_submodules_can_be_imported_from(module: str) -> None:
    assert importlib.import_module(f"flash.{module}") is importlib.import_module(f"dash.{module}")


def test_flash_has_a_version() -> None:
    assert flash.__version__[0].isdigit()
    assert flash.__version__ is not dash.__version__


ERRORS = [
    "AsyncioCancelled",
    "BufferOverrun",
    "FeedFailed",
    "FeedOverrun",
    "FeedUnavailable",
    "ForeignCancellation",
    "InvalidEventCallback",
    "InvalidFeed",
    "InvalidOption",
    "InvalidUpdate",
    "RequestRefused",
    "StreamCancelled",
    "WrongServer",
]


@pytest.mark.parametrize("name", ERRORS)
def test_public_errors_are_flash_errors(name: str) -> None:
    assert issubclass(getattr(flash, name), flash.FlashError)
    assert issubclass(flash.FlashError, Exception)


def test_invalid_options_are_value_errors_too() -> None:
    assert issubclass(flash.InvalidOption, ValueError)


@pytest.mark.parametrize(
    "name", ["Flash", "EventCallback", "Update", "StreamInfo", "EndReason", "event_callback", "stream_props"]
)
def test_public_names_are_documented(name: str) -> None:
    assert len(getattr(flash, name).__doc__) > 40


def test_the_reasons_are_strings() -> None:
    assert {str(reason) for reason in flash.EndReason} == {
        "completed",
        "failed",
        "cancelled",
        "superseded",
        "timed_out",
        "disconnected",
        "shutdown",
        "revoked",
    }
    assert flash.EndReason.CANCELLED == "cancelled"


@pytest.mark.parametrize(
    ("path", "heading"), [("README.md", "## How streams end"), ("docs/reference.md", "### `EndReason`")]
)
def test_the_table_of_reasons_is_complete(path: str, heading: str) -> None:
    _, _, rest = (ROOT / path).read_text().partition(f"\n{heading}\n")
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(flash.EndReason)


def test_a_cancellation_says_why() -> None:
    cancelled = flash.StreamCancelled(flash.EndReason.CANCELLED, "tabs.value", "other")
    assert (cancelled.reason, cancelled.condition, cancelled.value) == ("cancelled", "tabs.value", "other")
    assert "cancelled" in str(cancelled)
    assert "tabs.value" in str(cancelled)
    assert "'other'" in str(cancelled)
    assert "None" not in str(flash.StreamCancelled(flash.EndReason.SHUTDOWN))


def test_code_that_imports_dash_gets_flash_when_it_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dash, "Dash", flash.Flash)
    app = dash.Dash(__name__)
    layout = flash.html.Div()
    app.layout = layout
    assert app.layout is layout
