"""The options of `Flash(...)`."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from typing import Any

import dash
import pytest
from quart_trio import QuartTrio

from flash import Flash, FlashError, InvalidOption
from flash.options import DEFAULTS, OPTIONS, Constraint, Flag, FlashOptions, OrNone, Range
from flash.server.quart_limits import QuartLimits
from flash.streams.limits import Limits, PageLimits, ServerLimits
from tools import options as writer

COUNTS = ["stream_buffer_bytes", "stream_buffer_updates", "streams_per_page", "stream_threads", "values_per_page"]
SECONDS = ["cleanup_timeout", "ping_interval", "start_timeout"]


def app_with(option: str, value: Any, **others: Any) -> Flash:
    """An app with an option that is a parameter of the test, and so of any type."""
    return Flash(__name__, **{option: value}, **others)


@pytest.mark.parametrize("option", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "10", None, True, [1]])
def test_an_option_that_counts_is_a_positive_integer(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.*positive integer") as caught:
        app_with(option, value)
    assert isinstance(caught.value, FlashError)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("value", [0, -0.5, "10", None, True, float("nan"), 1j])
def test_an_option_in_seconds_is_a_positive_number(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.*seconds") as caught:
        app_with(option, value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", [*COUNTS, *SECONDS])
def test_the_smallest_and_large_values_are_fine(option: str) -> None:
    app_with(option, 1)
    app_with(option, 10**9)


@pytest.mark.parametrize("option", SECONDS)
def test_seconds_may_be_fractions_and_infinite(option: str) -> None:
    app_with(option, 0.01)
    app_with(option, float("inf"))


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
        app_with(option, value)


def test_requests_have_no_limit_as_in_dash() -> None:
    assert [Flash(__name__).server.config[key] for key in QUART.values()] == [None] * 3


@pytest.mark.parametrize(("option", "key"), QUART.items())
def test_limits_of_requests_can_be_set(option: str, key: str) -> None:
    assert app_with(option, 7).server.config[key] == 7
    assert app_with(option, 7, server=QuartTrio(__name__)).server.config[key] == 7


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


def edges(constraint: Constraint) -> tuple[list[object], list[object]]:
    """The values at the edges of a constraint that it allows, and those just beyond, which it does not."""
    match constraint:
        case OrNone(inner):
            allowed, refused = edges(inner)
            return [None, *allowed], [value for value in refused if value is not None]
        case Flag():
            return [True, False], [None, 0, 1, "True"]
        case Range(_, types, lowest, highest):
            allowed: list[object] = []
            refused: list[object] = [None, "1", True, False, math.nan]
            for edge, beyond in ((lowest, -math.inf), (highest, math.inf)):
                if float in types:
                    allowed.append(edge)
                    refused += [] if edge == beyond else [math.nextafter(edge, beyond)]
                elif math.isfinite(edge):
                    allowed.append(int(edge))
                    refused += [int(edge + math.copysign(1, beyond)), float(edge)]
                else:
                    allowed.append(10**400)
            return allowed, refused
        case _:
            raise AssertionError(f"the edges of {constraint} are not known")


SMALLEST = math.nextafter(0, 1)
EDGES = {name: edges(info.constraint) for name, info in OPTIONS.items() if info.constraint is not None}
# None stands for a default that is worked out from another option.
EDGES["stall_timeout"][1].remove(None)
ALLOWED = [(name, value) for name, (allowed, _) in EDGES.items() for value in allowed]
REFUSED = [(name, value) for name, (_, refused) in EDGES.items() for value in refused]


def test_only_four_options_have_no_constraint_in_the_table() -> None:
    assert OPTIONS.keys() - EDGES.keys() == {"metrics", "forwarded_allow_ips", "identify", "inspect"}


@pytest.mark.parametrize(("option", "value"), ALLOWED)
def test_a_value_at_a_bound_is_accepted(option: str, value: object) -> None:
    if (option, value) == ("stall_timeout", SMALLEST):
        # It exceeds ping_interval, which cannot be smaller.
        Flash(__name__, stall_timeout=2 * SMALLEST, ping_interval=SMALLEST)
    else:
        app_with(option, value)


@pytest.mark.parametrize(("option", "value"), REFUSED)
def test_a_value_beyond_a_bound_is_refused_by_name(option: str, value: object) -> None:
    constraint = OPTIONS[option].constraint
    assert constraint is not None
    with pytest.raises(InvalidOption) as caught:
        app_with(option, value)
    assert str(caught.value) == f"{option}= of Flash(...) is to be {constraint.description}, got {value!r}."


@pytest.mark.parametrize("value", [10, math.nextafter(10, 0)])
def test_a_stall_timeout_exceeds_the_ping_interval(value: float) -> None:
    with pytest.raises(InvalidOption, match=r"stall_timeout= .* exceed ping_interval= \(10 s\)"):
        Flash(__name__, ping_interval=10, stall_timeout=value)
    Flash(__name__, ping_interval=10, stall_timeout=math.nextafter(10, 11))


def test_the_signature_has_the_options_of_the_table() -> None:
    parameters = inspect.signature(Flash.__init__).parameters.values()
    own = {it.name: (it.annotation, it.default) for it in parameters if it.kind is inspect.Parameter.KEYWORD_ONLY}
    assert own == {option.name: (option.type, option.default) for option in fields(FlashOptions)}


def test_what_follows_from_the_table_is_up_to_date() -> None:
    assert list(writer.outdated()) == [], "run: python -m tools.options"


def reached_by_options(app: Flash) -> list[object]:
    """Everything that an option of `Flash(...)` may set."""
    limits, websockets = app.channels.limits, app.websockets.limits
    return [
        app.channels.page_limits,
        app.channels.load.limits,
        (app.sources.most, app.sources.most_per_browser),
        (limits.buffer, limits.cleanup_timeout, limits.threads.total),
        (websockets.buffer, websockets.stall_timeout, websockets.sockets, websockets.per_browser),
        app._request_limits,
        app.cross_site_frames,
        "203.0.113.9" in app.trusted_proxies,
        app.metrics is None,
        type(limits.observer),
        app.stream_settings.identify is None,
        app.inspector.is_asked_for,
    ]


OTHER_VALUES: dict[str, Any] = {"stall_timeout": 100, "forwarded_allow_ips": "*", "identify": print, "inspect": print}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_handed_to_what_it_is_for(option: str) -> None:
    default = getattr(DEFAULTS, option)
    number = 1 if default is None else default + 1
    other = OTHER_VALUES.get(option, not default if isinstance(default, bool) else number)
    # One for which this fails is handed to nothing, or to something that `reached_by_options` is to list.
    assert reached_by_options(Flash(__name__, **{option: other})) != reached_by_options(Flash(__name__))


def test_the_limits_have_the_defaults_of_the_options() -> None:
    """What each option is called in the limits that it goes into, in `Flash(...)` as in their own defaults."""
    app = Flash(__name__)
    channels = app.channels
    assert channels.page_limits == PageLimits()
    assert app._request_limits == QuartLimits()
    assert channels.load.limits == ServerLimits()
    assert (channels.limits.buffer, channels.limits.cleanup_timeout) == (Limits().buffer, Limits().cleanup_timeout)
    assert channels.limits.threads.total == Limits().threads.total == DEFAULTS.stream_threads
