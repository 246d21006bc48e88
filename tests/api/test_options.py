"""The options of `Flash(...)`."""

from __future__ import annotations

from typing import Any

import dash
import pytest

from flash import Flash, FlashError, InvalidOption

COUNTS = ["stream_buffer_bytes", "stream_buffer_updates", "streams_per_page", "stream_threads"]
SECONDS = ["cleanup_timeout", "ping_interval", "start_timeout"]


@pytest.mark.parametrize("option", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "10", None, True, [1]])
def test_an_option_that_counts_is_a_positive_integer(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.*positive integer") as caught:
        Flash(__name__, **{option: value})
    assert isinstance(caught.value, FlashError)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("value", [0, -0.5, "10", None, True, float("nan"), 1j])
def test_an_option_in_seconds_is_a_positive_number(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.*seconds") as caught:
        Flash(__name__, **{option: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", [*COUNTS, *SECONDS])
def test_the_smallest_and_large_values_are_fine(option: str) -> None:
    Flash(__name__, **{option: 1})
    Flash(__name__, **{option: 10**9})


@pytest.mark.parametrize("option", SECONDS)
def test_seconds_may_be_fractions_and_infinite(option: str) -> None:
    Flash(__name__, **{option: 0.01})
    Flash(__name__, **{option: float("inf")})


def test_the_options_of_dash_are_passed_on() -> None:
    app = Flash(
        "name", title="Title", suppress_callback_exceptions=True, external_stylesheets=["x.css"], assets_folder="a"
    )
    assert isinstance(app, dash.Dash)
    assert app.title == "Title"
    assert app.config.suppress_callback_exceptions
    assert app.config.external_stylesheets == ["x.css"]
    assert app.config.name == "name"


def test_an_option_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="stream_buffer_byte"):
        Flash(__name__, stream_buffer_byte=1)


def test_an_app_has_no_streams_before_it_is_served() -> None:
    assert Flash(__name__).streams() == []
