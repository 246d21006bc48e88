"""Traces streams with OpenTelemetry: a span for each.

    request ── span of the request ◁── link ── span of the stream ── spans that the generator opens

A stream outlives the request that starts it, so its span is no child of the request's span, but a root that links to
it. The span is current in the stream's context: what user code traces in the generator and in `on_error` becomes its
child.

Spans go to the global tracer provider of OpenTelemetry. Its processors are the app's code: what they raise is logged,
and ends no stream. The traces need `opentelemetry-api` (`pip install flash-trio[telemetry]`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..cancel_scopes import EndReason
from ..errors import InvalidOption
from ..streams.observer import ObservedStream, Observer, StreamEnd
from ..user_code.containment import log_failure

_log = logging.getLogger("flash.server")

TRACER = "flash"
"""The name of the tracer that the spans come from."""


class Telemetry(Observer):
    """Opens a span for each stream, and ends it with the stream.

    Raises:
        InvalidOption: `opentelemetry-api` is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import context, trace
        except ImportError as error:
            raise InvalidOption(
                "telemetry=True of Flash(...) needs opentelemetry-api: pip install 'flash-trio[telemetry]'."
            ) from error
        self._context: Any = context
        self._trace: Any = trace
        self._spans: dict[ObservedStream, Any] = {}

    def started(self, stream: ObservedStream) -> None:
        self._trace_safely(lambda: self._open(stream))

    def sent_first(self, stream: ObservedStream, seconds: float) -> None:
        self._add_event(stream, "first update", {"seconds": seconds})

    def waited(self, stream: ObservedStream, seconds: float) -> None:
        self._add_event(stream, "waited for room", {"seconds": seconds})

    def cancelled(self, stream: ObservedStream, reason: EndReason) -> None:
        self._add_event(stream, "cancelled", {"reason": str(reason)})

    def unwound(self, stream: ObservedStream) -> None:
        self._add_event(stream, "unwound", {})

    def ended(self, stream: ObservedStream, end: StreamEnd) -> None:
        span = self._spans.pop(stream, None)
        if span is not None:
            self._trace_safely(lambda: self._end(span, end))

    def _open(self, stream: ObservedStream) -> None:
        trace, context = self._trace, stream.spec.context
        # The provider may be set later than the app is made, so the tracer is looked up for each span.
        tracer = trace.get_tracer(TRACER)
        of_request = context.run(trace.get_current_span).get_span_context()
        self._spans[stream] = span = tracer.start_span(
            stream.spec.callback,
            context=self._context.Context(),
            links=[trace.Link(of_request)] if of_request.is_valid else [],
            attributes={"flash.callback": stream.spec.callback, "flash.stream": stream.id},
        )
        context.run(lambda: self._context.attach(trace.set_span_in_context(span)))

    def _end(self, span: Any, end: StreamEnd) -> None:
        span.set_attributes(
            {"flash.reason": str(end.reason), "flash.updates": end.updates, "flash.update_bytes": end.size}
        )
        if end.error is not None:
            span.record_exception(end.error)
            span.set_status(self._trace.StatusCode.ERROR, type(end.error).__name__)
        span.add_event("end", {"reason": str(end.reason)})
        span.end()

    def _add_event(self, stream: ObservedStream, name: str, attributes: dict[str, Any]) -> None:
        span = self._spans.get(stream)
        if span is not None:
            self._trace_safely(lambda: span.add_event(name, attributes))

    def _trace_safely(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:
            log_failure(_log, error, "OpenTelemetry failed to trace a stream, which goes on; its span may be lost.")
