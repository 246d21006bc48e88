"""Implements Dash's backend interface on Quart-Trio.

Most of Dash's own Quart backend works on Trio as it is. This module replaces the rest: the server is a
`FlashServer`, plain callbacks run in worker threads instead of on the event loop, set-up happens in the lifespan
instead of in the first request, and `run` serves with Hypercorn's trio worker.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from inspect import CO_COROUTINE, iscoroutinefunction
from types import FunctionType
from typing import Any, Protocol, cast

import dash
import quart_trio
import sniffio
import trio
from quart import has_request_context, redirect, request, websocket
from quart_trio.wrappers import TrioResponse as Response
from werkzeug.exceptions import HTTPException

from .. import _dash, _dash_patches, _quart, page_scripts
from ..asgi.browser_cookie import set_browser_cookie
from ..asgi.client_json import DOCUMENT_SIZE
from ..asgi.client_log import ClientWarnings, escape_what_clients_send
from ..asgi.compression import Compression
from ..asgi.forwarded import Forwarded
from ..asgi.http_exchange import HTTP_EXCHANGE, FlashConnection
from ..asgi.page_secret import with_secret
from ..asgi.refusals import answer_refusal
from ..asgi.request_body import read_body
from ..callbacks.late_props import LateProps
from ..callbacks.request import CALLBACK_REQUEST, CallbackRequest
from ..dash_json import to_json
from ..errors import InvalidOption, RequestRefused, WrongServer
from ..streams.mistakes import Mistakes
from ..user_code.cleanup import CleanUpOf
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.functions import name_of
from ..user_code.threads import as_plain, in_thread
from ..websockets import route as websocket_route
from ..websockets.transport import FlashWebsocketConnection
from ..workers.machine_options import find_machine
from ..workers.this_worker import this_worker
from . import serving
from .block_watch import BlockWatch
from .callback_response import CallbackResponse
from .current_run import APPS, StreamingApp
from .lifespan import FlashLifespan
from .run_options import read_run_options
from .shutdown import SHUTDOWN_TIMEOUT, THREAD_SHUTDOWN_TIMEOUT, StopRequest
from .tracebacks import describe_exception, traceback_page

_log = logging.getLogger("flash.server")
_warnings = ClientWarnings(_log)

CALLBACK_THREADS = 40
"""How many plain callbacks run at a time: the number of threads of Trio's default limiter."""

VIEW_THREADS = 40
"""The same for the views of Dash: layouts, hooks' routes, MCP. They have threads of their own, so that callbacks that
block do not hold them up."""

HTML = "text/html; charset=utf-8"

_USE_TRIO = (
    "Flash runs on Trio: serve it with `app.run()` or with Hypercorn's trio worker, "
    "`hypercorn -k trio module:app`. It cannot run on an asyncio server such as uvicorn."
)


def require_trio() -> None:
    """Raise WrongServer unless Trio runs the caller."""
    if trio.lowlevel.in_trio_run():
        return
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        library = "no async library"
    raise WrongServer(f"This server runs on {library}. {_USE_TRIO}")


def _compress_built(response: Response) -> None:
    """Have a response bring the built script of a page in the best encoding that its browser takes."""
    response.headers["Vary"] = "Accept-Encoding"
    for coding in page_scripts.CODINGS:
        if request.accept_encodings.quality(coding) > 0:
            response.set_data(page_scripts.built_in(coding))
            response.headers["Content-Encoding"] = coding
            return


def _answer_malformed(app: dash.Dash, body: Mapping[str, Any], error: Exception) -> Response | None:
    """The answer to a callback request that no page of the app sends; None if the request is not at fault."""
    if not _dash.disagrees_with_callback(app, body):
        return None
    _warnings.warn("malformed", "A callback request was refused, which no page of the app sends", error=error)
    return answer_refusal(RequestRefused(400, "The request is malformed, or its callback is not known."))


async def require_trio_to_serve(scope: Any, send: Any) -> None:
    """Raise WrongServer unless Trio runs the caller, and answer a request with the reason."""
    try:
        require_trio()
    except WrongServer as error:
        if scope["type"] == "http":
            # Even if the answer cannot be sent, the exception reaches the server's log.
            with contextlib.suppress(Exception):
                headers = [(b"content-type", b"text/plain; charset=utf-8")]
                await send({"type": "http.response.start", "status": 500, "headers": headers})
                await send({"type": "http.response.body", "body": str(error).encode(), "more_body": False})
        raise


class FlashServer(quart_trio.QuartTrio):
    """The ASGI app `app.server`: a QuartTrio that raises WrongServer when another server than a Trio one serves it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await require_trio_to_serve(scope, send)
        # What `super().__call__` does, which would be a coroutine more for every link.
        await self.asgi_app(scope, receive, send)

    def ensure_async(self, func: Any) -> Any:
        """`func`, run in a thread if it is not async. Quart asks for that several times in each request."""
        if type(func) is FunctionType and func.__code__.co_flags & CO_COROUTINE:
            return func
        return super().ensure_async(func)


class ServedApp(StreamingApp, Protocol):
    """What the backend needs of a Flash app beyond what every Dash app has."""

    cross_site_frames: bool


class FlashBackend(_dash.QuartDashServer):
    """The backend of a Flash app."""

    websocket_capability = True
    dash_app: ServedApp

    def __init__(self, server: quart_trio.QuartTrio) -> None:
        super().__init__(server)
        # Dash silences logs by this name, and the fixtures of `dash.testing` choose by it how to stop a server.
        self.server_type = "quart"
        self._stop_request = StopRequest()
        _dash.set_shutdown_event(self, self._stop_request.make, lambda: not self._stop_request.pending)
        self.request_adapter: type[websocket_route.RequestAdapter] = websocket_route.RequestAdapter
        self.response_adapter: type[CallbackResponse] = CallbackResponse
        self._mistakes = Mistakes()
        self._threads = trio.CapacityLimiter(CALLBACK_THREADS)
        self._view_threads = trio.CapacityLimiter(VIEW_THREADS)

    @staticmethod
    def create_app(name: str = "__main__", config: dict[str, Any] | None = None) -> FlashServer:
        app = FlashServer(name)
        # As under Flask, browsers ask for assets each time, and are answered with 304 while those are the same.
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0
        for key, value in (config or {}).items():
            app.config[key] = value
        return app

    def setup_backend(self, dash_app: Any) -> None:
        """Have the lifespan prepare the app before the first request, and end its streams when the server stops."""
        self.dash_app = dash_app
        _dash_patches.use_encoder(to_json)
        _quart.run_on_trio()
        _quart.refuse_bad_hosts(self.server)
        _quart.remember_routes(self.server)
        # The text of a callback's exception may contain what a client has sent.
        escape_what_clients_send(self.server.name, dash_app.logger.name)
        self.server.extensions["flash"] = dash_app
        # A server may have several apps, each at its own prefix.
        self.server.extensions.setdefault(APPS, []).append(dash_app)
        self.server.asgi_lifespan_class = cast("Any", FlashLifespan)
        self.server.asgi_http_class = FlashConnection
        self.server.asgi_websocket_class = FlashWebsocketConnection
        self.server.asgi_app = Forwarded(self.server.asgi_app, dash_app.trusted_proxies)

        @self.server.before_serving
        async def prepare() -> None:
            require_trio()
            try:
                await trio.to_thread.run_sync(_dash.setup_server, dash_app)
            except Exception as error:
                # As with any Dash app, the server goes on. Set-up fails again for each page, which shows the cause.
                _log.error("The app has a mistake, and none of its pages can be shown.", exc_info=error)
            if dash_app.metrics is not None:
                dash_app.metrics.watch_lag(self.server.nursery)
            if _dash.shows_dev_tools(dash_app):
                trio.lowlevel.add_instrument(BlockWatch())

        @self.server.after_serving
        async def end() -> None:
            if dash_app.metrics is not None:
                dash_app.metrics.end_lag_watch()

    def before_request(self, func: Callable[[], Any]) -> None:
        """Register a hook: the user's run for every request and websocket, Dash's own run once, for the first.

        Dash's hooks may take long, because they call the users' layouts of pages; requests wait for them meanwhile.
        """
        if func.__module__.partition(".")[0] not in ("dash", __name__.partition(".")[0]):
            self.server.before_request(func)
            self.server.before_websocket(func)
            return
        first, over = trio.Lock(), False

        async def hook() -> None:
            nonlocal over
            if over or not self._asks_for_this_app():
                return
            async with first:
                if not over:
                    _dash.make_pages_plain(as_plain)
                    await trio.to_thread.run_sync(func, limiter=self._view_threads)
                    over = True

        self.server.before_request(hook)
        self.server.before_websocket(hook)

    def _asks_for_this_app(self) -> bool:
        """Whether the current request or websocket is for this app, and not for another one of the same server."""
        asked = request if has_request_context() else websocket
        return asked.path.startswith(cast("Any", self.dash_app).config.routes_pathname_prefix)

    def add_url_rule(
        self, rule: str, view_func: Callable[..., Any], endpoint: str | None = None, methods: list[str] | None = None
    ) -> None:
        """Add a route of Dash or of a hook. Plain views run in threads that callbacks do not use."""
        if not iscoroutinefunction(view_func):
            view_func = in_thread(view_func, self._view_threads)
        super().add_url_rule(rule, view_func, endpoint, methods)

    def register_prune_error_handler(self, secret: str, prune_errors: bool) -> None:
        """Answer errors with their tracebacks for the dev tools, and HTTP exceptions such as 404 with their status."""

        @self.server.errorhandler(Exception)
        async def answer_with_traceback(error: Exception) -> Any:
            if isinstance(error, HTTPException):
                return error.get_response()
            asked = request if has_request_context() else websocket
            _log.error("%s %s failed.", asked.method, asked.path, exc_info=error)
            return Response(traceback_page(error, "Flash", prune=prune_errors), status=500, content_type=HTML)

    def add_redirect_rule(self, app: Any, fullname: str, path: str) -> None:
        """Redirect from a page's former path to `path`, which has its prefix already: Dash's backends add it again."""

        async def former() -> Any:
            return redirect(path, code=301)

        self.server.add_url_rule(fullname, fullname, former)

    def enable_compression(self) -> None:
        self.server.asgi_app = Compression(self.server.asgi_app)

    def setup_index(self, dash_app: Any) -> None:
        async def index(*args: Any, **kwargs: Any) -> Response:
            return await self._serve_index(dash_app, *args, **kwargs)

        _dash.add_route(dash_app, "", index)

    def setup_catchall(self, dash_app: Any) -> None:
        async def catchall(path: str, *args: Any, **kwargs: Any) -> Response:
            return await self._serve_index(dash_app, *args, **kwargs)

        _dash.add_route(dash_app, "<path:path>", catchall)

    async def _serve_index(self, dash_app: Any, *args: Any, **kwargs: Any) -> Response:
        """The page that Dash makes in a thread, with the cookie of a browser."""
        page = await trio.to_thread.run_sync(functools.partial(dash_app.index, *args, **kwargs))
        return self.add_browser_cookie(Response(page, content_type=HTML))

    def setup_component_suites(self, dash_app: Any) -> None:
        """Serve components as Dash does on Flask: with a charset, and an ETag where the name has no fingerprint."""

        async def suite(package_name: str, fingerprinted_path: str) -> Response:
            try:
                response = self.serve_component_suites(dash_app, package_name, fingerprinted_path)
            except (dash.exceptions.DependencyException, OSError):
                return Response("There is no such script.", status=404, content_type="text/plain")
            if package_name == "flash" and page_scripts.is_built(fingerprinted_path):
                _compress_built(response)
            if response.mimetype.startswith("text/"):
                response.content_type = f"{response.mimetype}; charset=utf-8"
            if response.cache_control.max_age is None:
                await response.add_etag()
                await response.make_conditional(request)
            return response

        _dash.add_route(dash_app, "_dash-component-suites/<string:package_name>/<path:fingerprinted_path>", suite)

    def add_browser_cookie(self, response: Response) -> Response:
        """Add the cookie that identifies the browser in the requests of its pages."""
        path: str = cast("Any", self.dash_app).config.requests_pathname_prefix
        return set_browser_cookie(request, response, path, self.dash_app.cross_site_frames)

    def serve_callback(self, dash_app: Any) -> Callable[[], Awaitable[Response]]:
        async def dispatch() -> Response:
            # Not `quart.request`, a proxy that looks it up anew for each attribute.
            current = _quart.current_request()
            try:
                body = with_secret(await read_body(current))
            except RequestRefused as refusal:
                return answer_refusal(refusal)
            exchange = HTTP_EXCHANGE.get()
            CALLBACK_REQUEST.set(CallbackRequest(dash_app.stream_settings, body, DOCUMENT_SIZE.get(), current))
            try:
                context, execute, is_async = _dash.prepare_callback(dash_app, body)
            except Exception as error:
                answer = _answer_malformed(dash_app, body, error)
                if answer is None:
                    raise
                return answer
            try:
                if is_async:
                    name = name_of(_dash.function_of(dash_app, body["output"]))
                    with CleanUpOf(name, dash_app.websockets.limits.cleanup_timeout) as deadline:
                        if exchange is not None:
                            exchange.deadline = deadline
                        data = await execute()
                else:
                    data = await trio.to_thread.run_sync(execute, limiter=self._threads)
            except RequestRefused as refusal:
                return answer_refusal(refusal)
            except Exception as error:
                answer = _answer_malformed(dash_app, body, error)
                if answer is None:
                    raise
                return answer
            except BaseExceptionGroup as group:
                # Quart would pass on only the cancellation of a nursery that was cancelled and has failed.
                cancelled, failure = split_cancellation(group)
                if cancelled is None:
                    raise
                if failure is not None:
                    log_failure(_log, failure, "The callback %r failed when it was cancelled.", body["output"])
                raise cancelled from None
            finally:
                context.updated_props = LateProps(body["output"], self._mistakes)
            return context.dash_response.set_response(data=data)

        # CSRF protections exempt views by this name.
        dispatch.__name__ = dispatch.__qualname__ = "dispatch"
        dispatch.__module__ = "dash.dash"
        return dispatch

    def register_callback_api_routes(self, callback_api_paths: Mapping[str, Callable[..., Any]]) -> None:
        """Register the routes as Dash does, but run plain handlers in threads."""
        super().register_callback_api_routes(
            {path: self.server.ensure_async(handler) for path, handler in callback_api_paths.items()}
        )

    def serve_websocket_callback(self, dash_app: Any) -> None:
        websocket_route.register(
            self.server, dash_app, dash_app.websockets, dash_app.stream_settings, describe_exception
        )

    @serving.exiting_if_it_cannot_listen()
    def run(self, dash_app: Any, host: str, port: int, debug: bool, **kwargs: Any) -> None:
        """Serve with Hypercorn's trio worker until SIGINT or SIGTERM.

        In another thread than the main one, serve until the fixtures of `dash.testing` stop the server.

        Args:
            dash_app: the app.
            host: the address to listen on.
            port: the port to listen on.
            debug: start the program again when its code changes, unless `use_reloader` says otherwise.
            kwargs: Flask's keywords, as far as they have a meaning here, and options of Hypercorn's Config, such as
                `certfile` or `keep_alive_timeout`, and `workers` and others: see `run_options`.

        Raises:
            SystemExit: it cannot listen there, or does not start; with a sentence, or a status.
        """
        from .reloading import can_reload, can_run_again, reload_on_changes, same_command

        in_main_thread = threading.current_thread() is threading.main_thread()
        timeout = SHUTDOWN_TIMEOUT if in_main_thread else THREAD_SHUTDOWN_TIMEOUT
        options = read_run_options({"graceful_timeout": timeout} | kwargs)
        config = options.config
        config.bind = [f"{host}:{port}"]
        if (debug if options.reload is None else options.reload) and can_reload():
            serving.check_can_listen(config)
            reload_on_changes(options.extra_files, options.exclude_patterns, config.graceful_timeout)
        if _dash.silences_routes(dash_app):
            logging.getLogger("quart.app").setLevel(logging.ERROR)
        worker = this_worker()
        # A worker has it from its supervisor, whatever has become of the file with the secret.
        several = options.redis, options.advertise, options.secret_file
        machine = None if worker is not None else find_machine(*several)
        if worker is not None or (options.workers == 1 and machine is None):
            serving.run(dash_app, config, self._stop_request)
        elif can_run_again():
            serving.run_workers(same_command(), config, options.workers, options.socket_directory, machine)
        else:
            raise InvalidOption(
                f"app.run(workers={options.workers}) runs the program again in each worker, which takes a program in a "
                "file, and its main thread. Here, serve with one worker, or write `flash run module:app`."
            )
        if worker is not None:
            # What the program does after its server is for the supervisor to do, once.
            sys.exit(0)
