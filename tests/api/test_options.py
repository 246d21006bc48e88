"""The options of `Flash(...)`."""

from __future__ import annotations

from typing import Any

import dash
import pytest
from quart_trio import QuartTrio

from flash import Flash, FlashError, InvalidOption

COUNTS = ["stream_buffer_bytes", "stream_buffer_updates", "streams_per_page", "stream_threads", "values_per_page"]
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


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_whether_an_app_may_be_in_frames_is_true_or_false(value: Any) -> None:
    with pytest.raises(InvalidOption, match="cross_site_frames="):
        Flash(__name__, cross_site_frames=value)


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.0/99", 7, [None], ["10.0.0.1", "x"]])
def test_trusted_proxies_are_addresses(value: Any) -> None:
    with pytest.raises(InvalidOption, match="forwarded_allow_ips="):
        Flash(__name__, forwarded_allow_ips=value)


@pytest.mark.parametrize(
    ("value", "address", "trusted"),
    [
        ("*", "203.0.113.9", True),
        ("", "127.0.0.1", False),
        ("10.0.0.0/8, 192.0.2.1", "10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (None, "127.0.0.1", True),
        (None, "::1", True),
        (None, "10.0.0.1", False),
    ],
)
def test_a_proxy_is_trusted_by_its_address_or_network(value: Any, address: str, trusted: bool) -> None:
    assert (address in Flash(__name__, forwarded_allow_ips=value).trusted_proxies) is trusted


QUART = {"max_body_bytes": "MAX_CONTENT_LENGTH", "body_timeout": "BODY_TIMEOUT", "response_timeout": "RESPONSE_TIMEOUT"}


@pytest.mark.parametrize("option", QUART)
@pytest.mark.parametrize("value", [0, -1, "1", True, float("nan")])
def test_limits_of_requests_are_positive_or_none(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}= of Flash"):
        Flash(__name__, **{option: value})


def test_requests_have_no_limit_as_in_dash() -> None:
    assert [Flash(__name__).server.config[key] for key in QUART.values()] == [None] * 3


@pytest.mark.parametrize(("option", "key"), QUART.items())
def test_limits_of_requests_can_be_set(option: str, key: str) -> None:
    assert Flash(__name__, **{option: 7}).server.config[key] == 7
    assert Flash(__name__, **{option: 7}, server=QuartTrio(__name__)).server.config[key] == 7


@pytest.mark.parametrize("key", QUART.values())
def test_a_server_of_ones_own_keeps_the_limits_that_were_set_there(key: str) -> None:
    server = QuartTrio(__name__)
    server.config[key] = 1_234
    app = Flash(__name__, server=False)
    app.init_app(server)
    assert {name: server.config[name] for name in QUART.values()} == dict.fromkeys(QUART.values()) | {key: 1_234}


@pytest.mark.parametrize("handler", [lambda: None, lambda error, more: None, "handler"])
def test_a_handler_of_errors_takes_one_exception(handler: Any) -> None:
    with pytest.raises(InvalidOption, match="function of one exception"):
        Flash(__name__, on_error=handler)
    Flash(__name__, on_error=lambda error: None)
