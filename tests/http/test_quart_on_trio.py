"""What apps import from Quart works as Quart's documentation writes it, though that is written for asyncio."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import quart
import quart.utils
import trio
import trio.lowlevel
from quart import Blueprint, Response, request
from quart.typing import ResponseReturnValue

from flash import Flash, html
from tests.http.servers import Serve


def words() -> Iterator[str]:
    for word in ("one", "two"):
        time.sleep(0.001)
        yield word + " " + ("" if threading.current_thread() is threading.main_thread() else "in a thread ")


IN_THREAD = "one in a thread two in a thread "


@pytest.fixture
def app(tmp_path: Path) -> Flash:
    app = Flash(__name__)
    app.layout = html.Div()
    server = app.server
    server.secret_key = "secret"
    (tmp_path / "file.txt").write_text("contents")
    blueprint = Blueprint("parts", __name__, root_path=str(tmp_path))

    @server.route("/response/generator")
    async def response_of_generator() -> Response:
        return Response(words(), mimetype="text/plain")

    @server.route("/response/generator/plain")
    def response_of_generator_in_plain_view() -> Response:
        return Response(words())

    @server.route("/response/list")
    async def response_of_list() -> Response:
        return Response(["a", "b"])

    @server.route("/response/async")
    async def response_of_async_generator() -> Response:
        async def later() -> AsyncIterator[str]:
            yield "a"
            await trio.lowlevel.checkpoint()
            yield "b"

        return Response(later())

    @server.route("/response/data")
    async def data_of_response() -> str:
        return await Response(words()).get_data(as_text=True)

    @server.route("/generator")
    def generator() -> Iterator[str]:
        return words()

    @server.route("/made")
    async def made() -> ResponseReturnValue:
        return await quart.make_response(words())

    @server.route("/run_sync")
    async def run_sync() -> str:
        return str(await quart.utils.run_sync(lambda: threading.current_thread() is threading.main_thread())())

    @server.route("/run_sync/raises")
    async def run_sync_raises() -> str:
        try:
            await quart.utils.run_sync(lambda: 1 / 0)()
        except ZeroDivisionError as error:
            return str(error)
        return "nothing"

    @server.route("/run_sync/generator")
    async def run_sync_of_generator() -> str:
        return "".join([word async for word in await quart.utils.run_sync(words)()])

    @server.route("/iterable")
    async def iterable() -> str:
        return "".join([word async for word in quart.utils.run_sync_iterable(words())])

    @server.route("/stream_with_context")
    async def stream_with_context() -> AsyncIterator[str]:
        @quart.stream_with_context
        async def shown() -> AsyncIterator[str]:
            yield request.args["a"]
            await trio.lowlevel.checkpoint()
            yield request.args["a"]

        return shown()

    @server.route("/copy_current_request_context")
    async def copied() -> str:
        seen: list[str] = []

        @quart.copy_current_request_context
        async def look() -> None:
            await trio.lowlevel.checkpoint()
            seen.append(request.args["a"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
        return seen[0]

    @server.route("/after_this_request")
    async def after() -> str:
        @quart.after_this_request
        def plain(response: Any) -> Any:
            response.headers["X-Plain"] = "yes"
            return response

        @quart.after_this_request
        async def later(response: Any) -> Any:
            response.headers["X-Async"] = "yes"
            return response

        return "done"

    @server.route("/send_file")
    async def send_file() -> Response:
        return await quart.send_file(tmp_path / "file.txt")

    @server.route("/send_file/memory")
    async def send_file_from_memory() -> Response:
        return await quart.send_file(io.BytesIO(b"in memory"), mimetype="text/plain")

    @server.route("/send_from_directory")
    async def send_from_directory() -> Response:
        return await quart.send_from_directory(tmp_path, "file.txt")

    @server.route("/open_resource")
    async def open_resource() -> bytes:
        async with await blueprint.open_resource("file.txt") as file:
            return await file.read()

    @server.route("/upload", methods=["POST"])
    async def upload() -> str:
        file = (await request.files)["file"]
        await file.save(tmp_path / "saved")
        return f"{file.filename} {(tmp_path / 'saved').read_text()}"

    @server.route("/template")
    async def template() -> str:
        return await quart.render_template_string("{{ request.args['a'] }}")

    @server.route("/template/streamed")
    async def streamed_template() -> AsyncIterator[str]:
        return await quart.stream_template_string("{% for n in [1, 2] %}{{ n }}{% endfor %}")

    @blueprint.route("/blueprint")
    def in_blueprint() -> dict[str, str | None]:
        quart.session["user"] = "ada"
        quart.g.x = 1
        return {"user": quart.session["user"], "url": quart.url_for("parts.in_blueprint")}

    server.register_blueprint(blueprint)
    return app


ANSWERS = {
    "/response/generator": IN_THREAD,
    "/response/generator/plain": IN_THREAD,
    "/response/list": "ab",
    "/response/async": "ab",
    "/response/data": IN_THREAD,
    "/generator": IN_THREAD,
    "/made": IN_THREAD,
    "/run_sync": "False",
    "/run_sync/raises": "division by zero",
    "/run_sync/generator": IN_THREAD,
    "/iterable": IN_THREAD,
    "/stream_with_context?a=x": "xx",
    "/copy_current_request_context?a=x": "x",
    "/after_this_request": "done",
    "/send_file": "contents",
    "/send_file/memory": "in memory",
    "/send_from_directory": "contents",
    "/open_resource": "contents",
    "/template?a=x": "x",
    "/template/streamed": "12",
    "/blueprint": '{"url":"/blueprint","user":"ada"}\n',
}


async def test_every_counterpart_of_flask_works(serve: Serve, app: Flash) -> None:
    browser = (await serve(app)).browser()
    answers = {path: await browser.get(path) for path in ANSWERS}
    assert {path: (answer.status_code, answer.text) for path, answer in answers.items()} == {
        path: (200, text) for path, text in ANSWERS.items()
    }
    assert {"x-plain", "x-async"} <= {name.lower() for name in answers["/after_this_request"].headers}


async def test_an_uploaded_file_can_be_saved(serve: Serve, app: Flash) -> None:
    browser = (await serve(app)).browser()
    answer = await browser.post("/upload", files={"file": ("name.txt", b"uploaded")})
    assert answer.text == "name.txt uploaded"


async def test_on_asyncio_they_work_as_before() -> None:
    import asyncio

    Flash(__name__)

    async def ask() -> tuple[object, str]:
        value = await quart.utils.run_sync(lambda: 1)()
        return value, "".join([word async for word in quart.utils.run_sync_iterable(iter(["a", "b"]))])

    assert await trio.to_thread.run_sync(lambda: asyncio.run(ask())) == (1, "ab")
