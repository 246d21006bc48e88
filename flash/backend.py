"""Dash's backend interface on Quart-Trio, and serving with Hypercorn's trio worker.

Most of Dash's own Quart backend works on Trio as it is. What does not is replaced here: the server is a
`FlashServer`, plain callbacks run in worker threads instead of on the event loop, set-up happens in the lifespan
instead of in the first request, and `run` serves with Hypercorn's trio worker.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import quart_trio
import sniffio
import trio
from quart import request
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioResponse as Response

from . import _dash, serving, websocket_route
from .errors import RequestRefused, WrongServer
from .request_body import read_body
from .run_options import read_run_options
from .sse import answer_refusal, mark_browser
from .start import BODY, HOST
from .watching import BlockWatch

if TYPE_CHECKING:
    from .app import Flash

_log = logging.getLogger("flash.server")

CALLBACK_THREADS = 40
"""How many plain callbacks run at a time: the number that Trio's own default limiter has."""

_USE_TRIO = (
    "Flash runs on Trio: serve it with `app.run()` or with Hypercorn's trio worker, "
    "`hypercorn -k trio module:app`. It cannot run on an asyncio server such as uvicorn."
)


def require_trio() -> None:
    """Raise WrongServer unless Trio runs the caller."""
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        library = "no async library"
    if library != "trio":
        raise WrongServer(f"This server runs on {library}. {_USE_TRIO}")


LAST_WORD = 1.0
"""Seconds that the end of a response has before a disconnect cuts it: a page that has gone does not take it."""

_dash.survive_cut_requests()


class FlashConnection(TrioASGIHTTPConnection):
    """One HTTP request, the last word of whose response is said in peace.

    Hypercorn tells the app that the request is over from within the `send` that ends the response. Quart-Trio takes
    that for a disconnect and cancels the `send`: the connection would then never be known to be idle, and never be
    closed for it.
    """

    async def __call__(self, receive: Any, send: Any) -> None:
        said: trio.Event | None = None

        async def send_noting_the_last(message: Any) -> None:
            nonlocal said
            if message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            said = trio.Event()
            try:
                await send(message)
            finally:
                said.set()

        async def receive_in_time() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and said is not None:
                with trio.move_on_after(LAST_WORD):
                    await said.wait()
            return message

        await super().__call__(receive_in_time, send_noting_the_last)


class FlashServer(quart_trio.QuartTrio):
    """The ASGI app that `app.server` is: a QuartTrio that says so when it is served by something else."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        require_trio()
        await super().__call__(scope, receive, send)


class FlashBackend(_dash.QuartDashServer):
    """The backend of a Flash app."""

    websocket_capability = True
    dash_app: Flash

    def __init__(self, server: quart_trio.QuartTrio) -> None:
        super().__init__(server)
        # By this name Dash silences logs, and the fixtures of `dash.testing` know how to stop a server.
        self.server_type = "quart"
        self._stop_request = serving.StopRequest()
        self._ws_shutdown_event = _dash.ShutdownEvent(self._stop_request.make, lambda: not self._stop_request.pending)
        self.request_adapter = websocket_route.RequestAdapter
        self._threads = trio.CapacityLimiter(CALLBACK_THREADS)

    @staticmethod
    def create_app(name: str = "__main__", config: dict[str, Any] | None = None) -> FlashServer:
        app = FlashServer(name)
        for key, value in (config or {}).items():
            app.config[key] = value
        return app

    def setup_backend(self, dash_app: Any) -> None:
        """Make the app ready before the first request, whatever that is, and end its streams after the last."""
        self.dash_app = dash_app
        self.server.extensions["flash"] = dash_app
        self.server.asgi_http_class = FlashConnection

        @self.server.before_serving
        async def prepare() -> None:
            require_trio()
            await trio.to_thread.run_sync(_dash.setup_server, dash_app)
            if dash_app.metrics is not None:
                self.server.nursery.start_soon(dash_app.metrics.watch_lag)
            if _dash.shows_dev_tools(dash_app):
                trio.lowlevel.add_instrument(BlockWatch())

    def before_request(self, func: Callable[[], Any]) -> None:
        """Register one of Dash's own hooks: they are quick once they have run, and not worth a thread each time."""

        @self.server.before_websocket
        @self.server.before_request
        async def hook() -> Any:
            result: Any = func()
            return await result if inspect.isawaitable(result) else result

    def setup_index(self, dash_app: Any) -> None:
        async def index(*args: Any, **kwargs: Any) -> Response:
            page = await trio.to_thread.run_sync(functools.partial(dash_app.index, *args, **kwargs))
            return self.mark(Response(page, content_type="text/html"))

        _dash.add_route(dash_app, "", index)

    def setup_catchall(self, dash_app: Any) -> None:
        async def catchall(path: str, *args: Any, **kwargs: Any) -> Response:
            page = await trio.to_thread.run_sync(functools.partial(dash_app.index, *args, **kwargs))
            return self.mark(Response(page, content_type="text/html"))

        _dash.add_route(dash_app, "<path:path>", catchall)

    def mark(self, response: Response) -> Response:
        """Let the browser be told apart from others by the requests of its pages."""
        path: str = cast("Any", self.dash_app).config.requests_pathname_prefix
        return mark_browser(request, response, path)

    def serve_callback(self, dash_app: Any) -> Callable[[], Awaitable[Response]]:
        async def dispatch() -> Response:
            HOST.set(dash_app.stream_host)
            try:
                body = await read_body(request)
            except RequestRefused as refusal:
                return answer_refusal(refusal)
            BODY.set(body)
            try:
                context, execute, is_async = _dash.prepare_callback(dash_app, body)
            except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
                _log.warning("A callback request was refused: %s", error, exc_info=error)
                return answer_refusal(RequestRefused(400, "The request is malformed, or its callback is not known."))
            try:
                if is_async:
                    data = await execute()
                else:
                    data = await trio.to_thread.run_sync(execute, limiter=self._threads)
            except RequestRefused as refusal:
                return answer_refusal(refusal)
            return context.dash_response.set_response(data=data)

        # What CSRF protections exempt, or do not, goes by this name.
        dispatch.__name__ = dispatch.__qualname__ = "dispatch"
        dispatch.__module__ = "dash.dash"
        return dispatch

    def register_callback_api_routes(self, callback_api_paths: Mapping[str, Callable[..., Any]]) -> None:
        """Like Dash's, but plain handlers run in threads."""
        super().register_callback_api_routes(
            {path: self.server.ensure_async(handler) for path, handler in callback_api_paths.items()}
        )

    def serve_websocket_callback(self, dash_app: Any) -> None:
        websocket_route.register(self.server, dash_app, describe_exception)

    def run(self, dash_app: Any, host: str, port: int, debug: bool, **kwargs: Any) -> None:
        """Serve with Hypercorn's trio worker until SIGINT or SIGTERM; in another thread than the main one,
        until it is asked to by what Dash's own test fixtures stop it with.

        Further keywords are Flask's, as far as they mean something here, or options of Hypercorn's Config, such as
        `certfile` or `keep_alive_timeout`: see `run_options`.
        """
        in_main_thread = threading.current_thread() is threading.main_thread()
        config = read_run_options(
            {"graceful_timeout": serving.GRACE if in_main_thread else serving.THREAD_GRACE} | kwargs
        ).config
        config.bind = [f"{host}:{port}"]
        if _dash.silences_routes(dash_app):
            logging.getLogger("quart.app").setLevel(logging.ERROR)
        serving.run(dash_app, config, self._stop_request)


def format_failure(callback: str, error: BaseException) -> str:
    """The traceback of a stream's failure for the dev tools, as HTML: the user's frames, without Flash's own."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__package__") == "flash":
        frames = frames.tb_next
    error = error.with_traceback(frames)
    return _dash.format_traceback_html(error, "raise", f"Event callback {callback}", "Flash")


def describe_exception(error: BaseException) -> str:
    """One line: the type and the message of an exception."""
    return "".join(traceback.format_exception_only(error)).strip()
