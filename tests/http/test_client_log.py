"""What a client can write into the log, and how much of it."""

from __future__ import annotations

import base64
import logging
import secrets

import pytest
import trio

from flash import Input, Output
from flash.asgi.client_log import ClientWarnings, EscapeControlCharacters, escape
from tests.http.apps import answering_app
from tests.http.servers import Serve

FORGED = "x\n2026-01-01 00:00:00,000 ERROR flash.server: forged\r\x1b[2J\u2028\x85"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a handler writes, line by line."""
    formatter = logging.Formatter("LINE %(name)s: %(message)s")
    return [line for record in caplog.records for line in formatter.format(record).splitlines()]


@pytest.mark.parametrize("field", ["output", "inputs", "outputs", "changedPropIds"])
async def test_a_callback_request_writes_no_lines_of_its_own(
    serve: Serve, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    page = await (await serve(answering_app())).page()
    caplog.clear()
    answer = await page.post(
        "_dash-update-component", {**page.request("go"), field: [{"id": FORGED, "property": FORGED}]}
    )
    # What an Input is called concerns nobody.
    assert answer.status_code == (200 if field == "inputs" else 400)
    answer = await page.post("_dash-update-component", {**page.request("go"), "output": FORGED})
    assert answer.status_code == 400
    assert all(line.startswith("LINE ") for line in lines(caplog))
    assert "\x1b" not in caplog.text


async def test_what_a_callback_raises_about_a_value_writes_no_lines_of_its_own(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = answering_app()

    @app.callback(Output("out", "title"), Input("go", "title"))
    def number(text: str) -> int:
        raise ValueError(f"not a number: {text}")

    page = await (await serve(app)).page()
    caplog.clear()
    request = {
        "output": "out.title",
        "outputs": {"id": "out", "property": "title"},
        "inputs": [{"id": "go", "property": "title", "value": FORGED}],
        "changedPropIds": ["go.title"],
    }
    assert (await page.post("_dash-update-component", request)).status_code == 500
    assert any("not a number" in line for line in lines(caplog))
    assert all(line.startswith(("LINE ", "  ")) for line in lines(caplog))
    assert "\x1b" not in caplog.text


async def test_names_that_no_file_can_have_are_not_found_and_are_not_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    page = await (await serve(answering_app())).page()
    caplog.clear()
    for name in ("a" * 300, "a/" * 3_000, "%00", "%ff"):
        assert (await page.get(f"assets/{name}")).status_code == 404
    assert lines(caplog) == []


async def test_a_host_that_no_server_can_have_is_refused_and_not_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(answering_app())
    page = await server.page()
    caplog.clear()
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
    handshake = upgrade % base64.b64encode(bytes(16))
    for path, headers in (
        ("/", b""),
        (f"/_flash/events?page={page.token}:0", b""),
        ("/_dash-ws-callback", handshake),
        (f"/_flash/control?page={page.token}:0", handshake),
    ):
        async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
            await stream.send_all(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path.encode(), b"a" * 300, headers))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert lines(caplog) == []


async def test_a_request_that_is_repeated_does_not_fill_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    page = await (await serve(answering_app())).page()
    caplog.clear()
    for _ in range(50):
        await page.post("_dash-update-component", {"output": secrets.token_hex()})
        await page.post("_dash-update-component", {**page.request("go"), "outputs": secrets.token_hex()})
        with trio.move_on_after(1):
            async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
                await stream.send_all(b"GET /%ff HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\xff\xff")
                await stream.receive_some()
    assert len(lines(caplog)) < 10, lines(caplog)


def test_warnings_of_a_kind_are_counted_while_they_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    warnings = ClientWarnings(logging.getLogger("flash.server"), lambda: now)
    for _ in range(10):
        warnings.warn("one", "It happened to %s", "somebody", error=ValueError("why"))
    warnings.warn("other", "Something else")
    now = 61.0
    warnings.warn("one", "It happened to %s", "somebody")
    assert [record.getMessage() for record in caplog.records] == [
        "It happened to somebody (ValueError: why).",
        "Something else.",
        "It happened to somebody; 9 more since the last such line.",
    ]


def test_tracebacks_and_values_cannot_be_taken_for_lines(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("flash.server")
    assert any(isinstance(entry, EscapeControlCharacters) for entry in log.filters)
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        log.error("Of %r and %s.", FORGED, FORGED, exc_info=error)
    first, *rest = lines(caplog)
    assert first.startswith("LINE ")
    assert "forged" in first
    assert all(line.startswith("  ") for line in rest)
    assert any("Traceback" in line for line in rest)
    assert "\x1b" not in "".join(lines(caplog))


def test_an_access_log_escapes_what_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("hypercorn.access")
    log.addHandler(caplog.handler)
    try:
        # A server that ran before may have told this logger to be quiet.
        with caplog.at_level(logging.INFO, logger=log.name):
            log.warning('%(h)s "%(f)s"', {"h": "127.0.0.1", "f": FORGED})
    finally:
        log.removeHandler(caplog.handler)
    record = caplog.records[0]
    assert "\n" not in record.getMessage()
    assert "127.0.0.1" in record.getMessage()


def test_what_is_escaped_is_not_endless() -> None:
    assert len(escape("x" * 1_000_000)) < 1_100
    assert escape("grün\n") == "grün\\n"
    assert escape("\ud800") == "\\ud800"
