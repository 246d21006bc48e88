"""Defines each option of `Flash(...)`, once: its name, type, default and bounds, and the sentence that explains it.

    FlashOptions ─┬─ checks the values when it is made
                  ├─ python -m tools.options ── the signature and docstring of `Flash`, the table in docs/options.md
                  └─ DEFAULTS ── the defaults of Limits, PageLimits, ServerLimits, ...

To add an option: add a field here, run `python -m tools.options`, and use the value in `Flash.__init__`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol, TypeVar

from .errors import InvalidOption

T = TypeVar("T")


class Constraint(Protocol):
    """The values that an option may have.

    Attributes:
        description: names these values, as in "is to be a positive integer".
    """

    @property
    def description(self) -> str: ...

    def allow(self, value: object, /) -> bool: ...


class Range(NamedTuple):
    """The numbers from `lowest` to `highest`, both included; True and False are none.

    Attributes:
        description: names these numbers in messages.
        types: what the number may be: `int`, or `int` and `float`.
        lowest: the smallest that is allowed.
        highest: the largest that is allowed.
    """

    description: str
    types: tuple[type[int | float], ...]
    lowest: float
    highest: float = math.inf

    def allow(self, value: object, /) -> bool:
        return isinstance(value, self.types) and not isinstance(value, bool) and self.lowest <= value <= self.highest


class OrNone(NamedTuple):
    """None, which sets no limit, or a value that another constraint allows."""

    constraint: Constraint

    @property
    def description(self) -> str:
        return f"{self.constraint.description}, or None for no limit"

    def allow(self, value: object, /) -> bool:
        return value is None or self.constraint.allow(value)


class Flag(NamedTuple):
    """True or False."""

    description: str = "True or False"

    def allow(self, value: object, /) -> bool:
        return isinstance(value, bool)


_SMALLEST = math.nextafter(0, 1)

COUNT = Range("a positive integer", (int,), 1)
SECONDS = Range("a positive number of seconds", (int, float), _SMALLEST)
SECONDS_OR_ZERO = Range("a number of seconds, at least 0", (int, float), 0)
FINITE_SECONDS = Range("a positive number of seconds", (int, float), _SMALLEST, sys.float_info.max)


class OptionInfo(NamedTuple):
    """What the checks and the docs need of an option beside its name, type and default.

    Attributes:
        constraint: the values that it may have; None if `FlashOptions` does not check it.
        sentence: what it sets, in Markdown.
        unit: the unit of the value, which the docs put after the default.
        default: describes the value that a default of None stands for, if it is worked out from something else.
        see: where the docs say more, as Markdown links.
    """

    constraint: Constraint | None
    sentence: str
    unit: str = ""
    default: str = ""
    see: str = ""


def _option(value: T, info: OptionInfo) -> T:
    """A field of `FlashOptions` with this default."""
    described: Any = field(default=value, metadata={"info": info})
    return described


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashOptions:
    """The values of Flash's own options.

    Raises:
        InvalidOption: a value breaks the constraint of its option.
    """

    stream_buffer_bytes: int = _option(
        1_000_000,
        OptionInfo(
            COUNT,
            "bytes of JSON that may wait per stream, and per websocket; at that, the generator waits at its `yield`",
            see="[Websockets](websockets.md)",
        ),
    )
    stream_buffer_updates: int = _option(1_000, OptionInfo(COUNT, "updates that may wait per stream"))
    streams_per_page: int = _option(
        100, OptionInfo(COUNT, "streams of one page; a start beyond that is answered with 429")
    )
    stream_threads: int = _option(
        200,
        OptionInfo(
            COUNT,
            "streams of plain generators in the process, each of which has a thread for its life; a start beyond that "
            "is answered with 503",
            see="[Blocking work](streams.md#blocking-work)",
        ),
    )
    cleanup_timeout: float = _option(
        5.0,
        OptionInfo(
            SECONDS,
            "seconds for unwinding a generator and running `on_error` together; what `flash.cleanup()` has in a "
            "callback",
            unit="s",
            see="[Clean-up](streams.md#clean-up-that-awaits)",
        ),
    )
    ping_interval: float = _option(
        15.0,
        OptionInfo(
            SECONDS, "seconds of silence after which a page's link is sent a `ping`, so that proxies keep it", unit="s"
        ),
    )
    reconnect_grace: float = _option(
        5.0,
        OptionInfo(
            SECONDS_OR_ZERO,
            "seconds for which the streams of a page go on without a link; 0 ends them at once",
            unit="s",
        ),
    )
    stall_timeout: float | None = _option(
        None,
        OptionInfo(
            SECONDS,
            "seconds for which a page may leave unacknowledged what it was sent, or a `ping`, before its streams end; "
            "longer if the server can tell that it is there",
            unit="s",
            default="four times `ping_interval`, and at least 5 s more than three times it",
            see="[Deployment](deployment.md#when-a-link-is-cut)",
        ),
    )
    window: int = _option(
        1_000_000,
        OptionInfo(COUNT, "bytes that may have been sent to a page and not been acknowledged; kept to be sent again"),
    )
    values_per_page: int = _option(
        100_000_000,
        OptionInfo(
            COUNT,
            "bytes of memory, about, that the Inputs and States take with which a page's streams were started, as long "
            "as they run; a start beyond that is answered with 413",
        ),
    )
    pages_per_browser: int = _option(
        100,
        OptionInfo(
            COUNT,
            "pages of one browser, and websockets of one browser; one more is answered with 429",
            see="[Websockets](websockets.md)",
        ),
    )
    pages_per_server: int = _option(10_000, OptionInfo(COUNT, "pages of the process; one more is answered with 503"))
    streams_per_user: int | None = _option(
        None,
        OptionInfo(
            OrNone(COUNT),
            "streams of one user in the process, as `identify` tells users apart; a start beyond that is answered with "
            "429",
            see="[Ending streams](end-streams.md#whose-a-stream-is)",
        ),
    )
    streams_per_server: int = _option(
        50_000, OptionInfo(COUNT, "streams of the process; a start beyond that is answered with 503")
    )
    sources_per_server: int = _option(
        1_000,
        OptionInfo(
            COUNT,
            "sources of feeds and of shared streams in the process; who would start one more gets `FeedUnavailable` or "
            "`SharedStreamUnavailable`",
            see="[Feeds](feeds.md)",
        ),
    )
    identify: Callable[[Any], Any] | None = _option(
        None,
        OptionInfo(
            None,
            "a function of the request, plain or async, that returns whose the request is: a string, or None for "
            "nobody; what it raises refuses the start of a stream",
            see="[Ending streams](end-streams.md#whose-a-stream-is)",
        ),
    )
    sources_per_browser: int = _option(
        100,
        OptionInfo(
            COUNT,
            "sources of shared streams that one browser may have started and that still run; a start beyond that is "
            "answered with 429",
            see="[Shared streams](shared.md)",
        ),
    )
    metrics: bool = _option(
        False,
        OptionInfo(
            None,
            "whether to serve Prometheus metrics at `_flash/metrics`, which takes `prometheus-client`",
            see="[Deployment](deployment.md)",
        ),
    )
    telemetry: bool = _option(
        False,
        OptionInfo(
            Flag(),
            "whether to trace each stream as a span of OpenTelemetry, which takes `opentelemetry-api`",
            see="[Traces](observability.md#traces)",
        ),
    )
    inspect: Callable[[Any], Any] | None = _option(
        None,
        OptionInfo(
            None,
            "a function of the request, plain or async, that says who may see the inspector at `_flash/inspect/`: it "
            'returns False, `"look"`, or True for those who may end streams there as well',
            default="with dev tools everybody may, else nobody",
            see="[The inspector](inspector.md)",
        ),
    )
    start_timeout: float = _option(
        5.0,
        OptionInfo(SECONDS, "seconds for which the first streams of a page go on before it has a link", unit="s"),
    )
    cross_site_frames: bool = _option(
        False,
        OptionInfo(
            Flag(),
            "whether streams are to work where the app is in a frame of another site's page, which takes HTTPS: its "
            "cookie is then `SameSite=None; Secure; Partitioned`",
            see="[Deployment](deployment.md#in-a-frame-of-another-site)",
        ),
    )
    forwarded_allow_ips: str | Sequence[str] | None = _option(
        None,
        OptionInfo(
            None,
            "addresses and networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count, in a list or "
            'with commas between; `"*"` trusts everybody',
            default="the variable `FORWARDED_ALLOW_IPS`, else the machine itself",
            see="[Deployment](deployment.md#proxies)",
        ),
    )
    max_body_bytes: int | None = _option(
        None,
        OptionInfo(
            OrNone(COUNT),
            "bytes of the body of a request, such as an upload in base64; a larger one is answered with 413",
        ),
    )
    body_timeout: float | None = _option(
        None,
        OptionInfo(
            OrNone(SECONDS),
            "seconds in which the body of a request has to come; later it is answered with 408",
            unit="s",
        ),
    )
    response_timeout: float | None = _option(
        None,
        OptionInfo(
            OrNone(SECONDS),
            "seconds in which a response has to be taken; then it is cut, under whatever status it has",
            unit="s",
        ),
    )

    def __post_init__(self) -> None:
        for name, info in OPTIONS.items():
            value: object = getattr(self, name)
            is_worked_out = value is None and info.default
            if info.constraint is not None and not is_worked_out:
                check(name, info.constraint, value)
        if self.stall_timeout is not None and self.stall_timeout <= self.ping_interval:
            raise InvalidOption(
                f"stall_timeout= of Flash(...) is to exceed ping_interval= ({self.ping_interval:g} s), at which pages "
                f"acknowledge what they have; got {self.stall_timeout!r}."
            )

    @property
    def effective_stall_timeout(self) -> float:
        """`stall_timeout`, worked out from `ping_interval` if it was not given.

        A page notices that its link is dead when three pings have not come, and some seconds later. The server is not
        to give it up before that.
        """
        if self.stall_timeout is not None:
            return self.stall_timeout
        return max(4 * self.ping_interval, 3 * self.ping_interval + 5)


OPTIONS: Mapping[str, OptionInfo] = {option.name: option.metadata["info"] for option in fields(FlashOptions)}
"""The `OptionInfo` of each option, by its name, in the order of the docs."""


def check(name: str, constraint: Constraint, value: object) -> None:
    """Raise InvalidOption unless the option `name` of `Flash(...)` may have this value."""
    if not constraint.allow(value):
        raise InvalidOption(f"{name}= of Flash(...) is to be {constraint.description}, got {value!r}.")


DEFAULTS = FlashOptions()
