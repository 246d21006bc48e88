"""Traces: what OpenTelemetry is told of a stream, over real sockets."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flash import Flash, Input, InvalidOption, Update, html, stream_props
from tests.faults.conftest import Serve
from tests.faults.sockets import Page
from tests.support.eventually import eventually

EXPORTER = InMemorySpanExporter()
tracer = trace.get_tracer(__name__)


class Failing(SpanProcessor):
    """A processor that can be made to fail."""

    fails = False

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self.fails:
            raise RuntimeError("the processor is broken")


FAILING = Failing()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """OpenTelemetry takes a global provider once in a process, so the tests of this file share one."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    provider.add_span_processor(FAILING)
    trace.set_tracer_provider(provider)


@pytest.fixture(autouse=True)
def spans() -> Iterator[InMemorySpanExporter]:
    EXPORTER.clear()
    yield EXPORTER
    FAILING.fails = False


def traced_app(**options: Any) -> Flash:
    app = Flash(__name__, telemetry=True, **options)
    app.layout = html.Div(id="out")
    return app


async def finished(name: str, count: int = 1) -> ReadableSpan:
    """The one finished span whose name ends so."""

    def found() -> list[ReadableSpan]:
        return [span for span in EXPORTER.get_finished_spans() if span.name.endswith(name)]

    await eventually(lambda: len(found()) == count)
    return found()[0]


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def events_of(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


async def run(page: Page, name: str, *, cancel: bool = False) -> None:
    link = await page.connect()
    await link.expect("hello")
    await page.begin(name)
    opened = await link.expect("open")
    await link.expect("props")
    if cancel:
        await page.cancel(opened["stream"])
    await link.until("end")


async def test_a_stream_is_a_span_of_its_own_that_links_to_the_request_that_started_it(serve: Serve) -> None:
    app = traced_app()
    asgi_app = app.server.asgi_app

    async def traced_requests(scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span(f"request {scope.get('path')}"):
            await asgi_app(scope, receive, send)

    app.server.asgi_app = traced_requests

    @app.event_callback(Input("count", "n_clicks"))
    async def count(n_clicks: int) -> AsyncIterator[Update]:
        for number in range(3):
            yield stream_props("out", {"children": number})

    await run(await (await serve(app)).page(), "count")
    span = await finished("count")
    request = await finished("request /_dash-update-component")
    assert span.parent is None
    assert context_of(span).trace_id != context_of(request).trace_id
    assert [link.context.span_id for link in span.links] == [context_of(request).span_id]
    attributes = dict(span.attributes or {})
    assert attributes.pop("flash.stream")
    assert attributes.pop("flash.update_bytes") == len('["out",{"children":0}]') * 3
    assert attributes == {"flash.callback": span.name, "flash.reason": "completed", "flash.updates": 3}
    assert events_of(span) == ["first update", "unwound", "end"]
    assert span.status.is_ok or span.status.is_unset


async def test_spans_that_user_code_opens_in_a_stream_are_children_of_the_streams_span(serve: Serve) -> None:
    app = traced_app()

    def handle(error: Exception) -> Update:
        with tracer.start_as_current_span("of on_error"):
            return stream_props("out", {"children": "stopped"})

    @app.event_callback(Input("wait", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=handle)
    async def wait(n_clicks: int) -> AsyncIterator[Update]:
        with tracer.start_as_current_span("of the generator"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_task)
        try:
            yield stream_props("out", {"children": "waiting"})
            await trio.sleep_forever()
        finally:
            with tracer.start_as_current_span("of clean-up"):
                pass

    async def in_task() -> None:
        with tracer.start_as_current_span("of a task"):
            await trio.lowlevel.checkpoint()

    @app.event_callback(Input("block", "n_clicks"))
    def block(n_clicks: int) -> Iterator[Update]:
        with tracer.start_as_current_span("of a thread"):
            pass
        yield stream_props("out", {"children": "blocked"})

    page = await (await serve(app)).page()
    await run(page, "wait", cancel=True)
    of_stream = await finished("wait")
    of_generator = await finished("of the generator")
    parents = {name: (await finished(name)).parent for name in ("of a task", "of clean-up", "of on_error")}
    assert {name: parent and parent.span_id for name, parent in parents.items()} == {
        "of a task": context_of(of_generator).span_id,
        "of clean-up": context_of(of_stream).span_id,
        "of on_error": context_of(of_stream).span_id,
    }
    await run(page, "block")
    of_thread, of_plain = await finished("of a thread"), await finished("block")
    assert of_thread.parent is not None
    assert of_thread.parent.span_id == context_of(of_plain).span_id


async def test_a_cancellation_and_what_follows_are_events_in_their_order(serve: Serve) -> None:
    app = traced_app()

    @app.event_callback(Input("wait", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def wait(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "waiting"})
        await trio.sleep_forever()

    await run(await (await serve(app)).page(), "wait", cancel=True)
    span = await finished("wait")
    assert events_of(span) == ["first update", "cancelled", "unwound", "end"]
    assert dict(span.events[1].attributes or {}) == {"reason": "cancelled"}


async def test_a_failure_is_recorded_and_so_is_a_wait_for_room(serve: Serve) -> None:
    app = traced_app(stream_buffer_updates=1, window=1_000)

    @app.event_callback(Input("fail", "n_clicks"))
    async def fail(n_clicks: int) -> AsyncIterator[Update]:
        for _ in range(20):
            yield stream_props("out", {"children": "x" * 400})
        raise ValueError("broken")

    await run(await (await serve(app)).page(), "fail")
    span = await finished("fail")
    assert not span.status.is_ok
    assert span.status.description == "ValueError"
    assert [name for name in events_of(span) if name != "waited for room"] == [
        "first update", "unwound", "exception", "end",
    ]  # fmt: skip
    assert "waited for room" in events_of(span)


async def test_a_processor_that_fails_ends_no_stream_and_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = traced_app()

    @app.event_callback(Input("count", "n_clicks"))
    async def count(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})

    FAILING.fails = True
    with caplog.at_level(logging.ERROR, logger="flash.server"):
        await run(await (await serve(app)).page(), "count")
    assert [record.getMessage() for record in caplog.records if record.name == "flash.server"] == [
        "OpenTelemetry failed to trace a stream, which goes on; its span may be lost."
    ]
    caplog.clear()


def test_opentelemetry_is_imported_only_where_it_is_asked_for() -> None:
    code = "import flash, sys; flash.Flash(); print('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"


def test_without_opentelemetry_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidOption, match=r"pip install 'flash-trio\[telemetry\]'"):
        Flash(telemetry=True)
