"""`class Flash(Dash)`: a Dash app that wires the parts of Flash to each other and to Dash.

    Flash(...)     checks the options, and makes the limits, the channels, the websockets and the metrics
    init_app       adds the routes of these to the server
    callback, event_callback, layout, ...
                   what users call, each handed on to the module that does it
    _setup_server  what Dash does before the first page: the hidden components join the layout

Methods whose names begin with an underscore and which Dash has, too, override Dash's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, ParamSpec, TypeVar, cast

import dash
import quart_trio
import trio
from dash import html

from . import _dash
from .asgi import hub_script
from .asgi.forwarded import LOOPBACK, TrustedProxies
from .callbacks.components import Page
from .callbacks.declaration import EventCallbackOptions
from .callbacks.identify import Identify
from .callbacks.request import StreamSettings
from .callbacks.sharing import Shared
from .channels import Channels
from .errors import InvalidEventCallback, InvalidOption, RequestRefused, WrongServer
from .event_callbacks import (
    GLOBAL_EVENT_CALLBACKS,
    EventCallback,
    EventCallbacks,
    declare,
    prepare_dash,
)
from .flask_apps.ended_request import end_request
from .flask_apps.server import QuartBehindFlask, asgi_server_of
from .inspector.mount import Inspector
from .options import COUNT, FlashOptions, check
from .server.all_workers import AllWorkers
from .server.backend import CALLBACK_THREADS, FlashBackend, require_trio_to_serve
from .server.background import BackgroundWork
from .server.lifespan import BackgroundTasks
from .server.metrics import Metrics
from .server.notebook import prepare_notebooks
from .server.quart_limits import QuartLimits
from .server.running_streams import RunningStreams
from .server.telemetry import Telemetry
from .server.tracebacks import describe_failure
from .shared.sources import Sources, yielded
from .sse import Routes
from .streaming_callback import CallbackDecorator, declare_callback
from .streams.limits import Limits, Load, PageLimits, ServerLimits
from .streams.observer import observer_of
from .user_code.functions import is_generator_function, name_of, takes
from .user_code.threads import as_plain
from .websockets import control_socket, route as websocket_route
from .websockets.callback_socket import CallbackSockets, WebsocketLimits
from .websockets.open_sockets import OpenSockets

P = ParamSpec("P")
R = TypeVar("R")

_DASH_LAYOUT = cast("Any", dash.Dash.layout)


class Flash(RunningStreams):
    """A Dash app that runs on Trio and streams.

    It takes everything that `dash.Dash` takes, and these options:

    Args:
        stream_buffer_bytes: bytes of JSON that may wait per stream, and per websocket; at that, the generator waits at
            its `yield`.
        stream_buffer_updates: updates that may wait per stream.
        streams_per_page: streams of one page; a start beyond that is answered with 429.
        stream_threads: streams of plain generators in the process, each of which has a thread for its life; a start
            beyond that is answered with 503.
        cleanup_timeout: seconds for unwinding a generator and running `on_error` together; what `flash.cleanup()` has
            in a callback.
        ping_interval: seconds of silence after which a page's link is sent a `ping`, so that proxies keep it.
        reconnect_grace: seconds for which the streams of a page go on without a link; 0 ends them at once.
        stall_timeout: seconds for which a page may leave unacknowledged what it was sent, or a `ping`, before its
            streams end; longer if the server can tell that it is there; by default four times `ping_interval`, and at
            least 5 s more than three times it.
        window: bytes that may have been sent to a page and not been acknowledged; kept to be sent again.
        values_per_page: bytes of memory, about, that the Inputs and States take with which a page's streams were
            started, as long as they run; a start beyond that is answered with 413.
        pages_per_browser: pages of one browser, and websockets of one browser; one more is answered with 429.
        pages_per_server: pages of the process; one more is answered with 503.
        streams_per_user: streams of one user in the process, as `identify` tells users apart; a start beyond that is
            answered with 429; None for no limit.
        streams_per_server: streams of the process; a start beyond that is answered with 503.
        sources_per_server: sources of feeds and of shared streams in the process; who would start one more gets
            `FeedUnavailable` or `SharedStreamUnavailable`.
        identify: a function of the request, plain or async, that returns whose the request is: a string, or None for
            nobody; what it raises refuses the start of a stream.
        sources_per_browser: sources of shared streams that one browser may have started and that still run; a start
            beyond that is answered with 429.
        metrics: whether to serve Prometheus metrics at `_flash/metrics`, which takes `prometheus-client`.
        telemetry: whether to trace each stream as a span of OpenTelemetry, which takes `opentelemetry-api`.
        inspect: a function of the request, plain or async, that says who may see the inspector at `_flash/inspect/`: it
            returns False, `"look"`, or True for those who may end streams there as well; by default with dev tools
            everybody may, else nobody.
        start_timeout: seconds for which the first streams of a page go on before it has a link.
        cross_site_frames: whether streams are to work where the app is in a frame of another site's page, which takes
            HTTPS: its cookie is then `SameSite=None; Secure; Partitioned`.
        forwarded_allow_ips: addresses and networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto`
            count, in a list or with commas between; `"*"` trusts everybody; by default the variable
            `FORWARDED_ALLOW_IPS`, else the machine itself.
        max_body_bytes: bytes of the body of a request, such as an upload in base64; a larger one is answered with 413;
            None for no limit.
        body_timeout: seconds in which the body of a request has to come; later it is answered with 408; None for no
            limit.
        response_timeout: seconds in which a response has to be taken; then it is cut, under whatever status it has;
            None for no limit.
        server: a `quart_trio.QuartTrio` or a `flask.Flask` of yours, or True for a new QuartTrio, or False to call
            `init_app` later.

    Raises:
        InvalidOption: one of Flash's own options has a value that cannot be used.
        WrongServer: `server` or `backend` is something that does not run on Trio.
    """

    def __init__(
        self,
        name: str | None = None,
        server: Any = True,
        *arguments: Any,
        stream_buffer_bytes: int = 1_000_000,
        stream_buffer_updates: int = 1_000,
        streams_per_page: int = 100,
        stream_threads: int = 200,
        cleanup_timeout: float = 5.0,
        ping_interval: float = 15.0,
        reconnect_grace: float = 5.0,
        stall_timeout: float | None = None,
        window: int = 1_000_000,
        values_per_page: int = 100_000_000,
        pages_per_browser: int = 100,
        pages_per_server: int = 10_000,
        streams_per_user: int | None = None,
        streams_per_server: int = 50_000,
        sources_per_server: int = 1_000,
        identify: Callable[[Any], Any] | None = None,
        sources_per_browser: int = 100,
        metrics: bool = False,
        telemetry: bool = False,
        inspect: Callable[[Any], Any] | None = None,
        start_timeout: float = 5.0,
        cross_site_frames: bool = False,
        forwarded_allow_ips: str | Sequence[str] | None = None,
        max_body_bytes: int | None = None,
        body_timeout: float | None = None,
        response_timeout: float | None = None,
        **options: Any,
    ) -> None:
        own_options = FlashOptions(
            stream_buffer_bytes=stream_buffer_bytes,
            stream_buffer_updates=stream_buffer_updates,
            streams_per_page=streams_per_page,
            stream_threads=stream_threads,
            cleanup_timeout=cleanup_timeout,
            ping_interval=ping_interval,
            reconnect_grace=reconnect_grace,
            stall_timeout=stall_timeout,
            window=window,
            values_per_page=values_per_page,
            pages_per_browser=pages_per_browser,
            pages_per_server=pages_per_server,
            streams_per_user=streams_per_user,
            streams_per_server=streams_per_server,
            sources_per_server=sources_per_server,
            identify=identify,
            sources_per_browser=sources_per_browser,
            metrics=metrics,
            telemetry=telemetry,
            inspect=inspect,
            start_timeout=start_timeout,
            cross_site_frames=cross_site_frames,
            forwarded_allow_ips=forwarded_allow_ips,
            max_body_bytes=max_body_bytes,
            body_timeout=body_timeout,
            response_timeout=response_timeout,
        )
        if forwarded_allow_ips is None:
            forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", LOOPBACK)
        self.trusted_proxies: TrustedProxies = TrustedProxies(forwarded_allow_ips)
        self.cross_site_frames = cross_site_frames
        self._request_limits = QuartLimits(max_body_bytes, body_timeout, response_timeout)
        on_error: Any = options.get("on_error")
        if on_error is not None and not (callable(on_error) and takes(on_error, None)):
            raise InvalidOption(f"on_error= of Flash(...) is to be a function of one exception, got {on_error!r}.")
        backend = options.pop("backend", None)
        if backend not in (None, FlashBackend):
            raise WrongServer(f"Flash has a backend of its own, got backend={backend!r}. Leave backend= out.")
        own = None if isinstance(server, bool | None) else asgi_server_of(server)
        workers = options.get("websocket_max_workers") or CALLBACK_THREADS
        check("websocket_max_workers", COUNT, workers)
        self.websockets: CallbackSockets = CallbackSockets(
            WebsocketLimits.of(own_options, trio.CapacityLimiter(workers))
        )
        self.controls: OpenSockets[control_socket.ControlSocket] = OpenSockets(pages_per_server, pages_per_browser)
        self.metrics: Metrics | None = None
        if metrics:
            self.metrics = Metrics(self.streams, lambda: len(self.websockets), self.feeds, yielded)
        self.inspector = Inspector(inspect)
        observer = observer_of(self.metrics, Telemetry() if telemetry else None, self.inspector.ends)
        limits = Limits.of(own_options, observer)
        self.sources: Sources = Sources(self._nursery, limits, sources_per_server, sources_per_browser)
        self.stream_settings: StreamSettings = StreamSettings(
            Channels(limits, PageLimits.of(own_options), Load(ServerLimits.of(own_options))),
            self.sources,
            self._nursery_for_channels,
            lambda callback, error: describe_failure(self, callback, error),
            options.get("on_error"),
            lambda: _dash.shows_dev_tools(self),
            None if identify is None else Identify(identify),
        )
        self.background: BackgroundWork = BackgroundWork(cleanup_timeout)
        self.all_workers = AllWorkers(self.channels, self.streams, lambda: self.asgi_server.nursery)
        self._event_callbacks = EventCallbacks()
        self._is_setting_up = False
        self._setup_error: Exception | None = None
        prepare_dash()
        prepare_notebooks()
        initialize = cast("Any", super()).__init__
        initialize(
            own.name if own is not None and name is None else name,
            bool(server) and own is None,
            FlashBackend,
            *arguments,
            **options,
        )
        if own is not None:
            self.init_app(own)

    @property
    def asgi_server(self) -> quart_trio.QuartTrio:
        """The Quart app that answers for Dash: `server` itself, or the one behind it, if `server` is a Flask app."""
        return cast("Any", self).backend.server

    def init_app(self, app: Any = None, **kwargs: Any) -> None:
        """Add the app's routes to a QuartTrio or a Flask app, for an app that was made with `server=False`."""
        initialize = cast("Any", super()).init_app
        asked = None if app is None else asgi_server_of(app)
        if isinstance(asked, QuartBehindFlask):
            self.stream_settings = replace(self.stream_settings, enter_stream=end_request)
        initialize(asked, **kwargs)
        server = self.asgi_server
        self._request_limits.apply(server)
        routes = Routes(self.stream_settings.channels, self._nursery_for_channels)
        prefix: str = cast("Any", self.config).routes_pathname_prefix
        routes.register(server, prefix)
        hub_script.register(server, prefix)
        control_socket.register(
            server,
            prefix,
            self.controls,
            lambda: websocket_route.check_handshake(server, self),
            lambda: cast("Any", self.config).csrf_header_name,
        )
        self.all_workers.register(server, prefix, self.metrics)
        if isinstance(server, QuartBehindFlask):
            server.share_body_limit()
            self.server = server.flask_app
        if self.inspector.is_asked_for:
            self.inspector.mount(self, Flash)

    def enable_dev_tools(self, *arguments: Any, **options: Any) -> Any:
        """Dash's dev tools, and the inspector."""
        enabled = cast("Any", super()).enable_dev_tools(*arguments, **options)
        if _dash.shows_dev_tools(self):
            self.inspector.mount(self, Flash)
        return enabled

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The app is an ASGI app itself: `hypercorn -k trio module:app`."""
        await require_trio_to_serve(scope, send)
        peers = self.all_workers.peers
        await (self.asgi_server if peers is None else peers.asgi)(scope, receive, send)

    def event_callback(
        self,
        *dependencies: Any,
        cancel: Any = None,
        watch: Mapping[str, Any] | None = None,
        on_error: Callable[[Any], Any] | None = None,
        reset_props: Any = None,
        prevent_initial_call: bool | None = None,
        running: Any = None,
        timeout: float | None = None,
        restart: bool = False,
        conflate: bool = False,
        keep: bool = False,
        overlap: Literal["supersede", "drop", "queue"] = "supersede",
        shared: Shared = None,
        linger: float = 0,
        resume: bool = False,
        concat: object = None,
        **keywords: Any,
    ) -> Callable[[Callable[P, R]], EventCallback[P, R]]:
        """`flash.event_callback`, on this app instead of on the global registry."""
        return declare(
            self._register,
            self._event_callbacks,
            dependencies,
            keywords,
            prevent_initial_call,
            EventCallbackOptions(
                cancel=cancel,
                watch=watch,
                on_error=on_error,
                reset_props=reset_props,
                running=running,
                timeout=timeout,
                restart=restart,
                conflate=conflate,
                keep=keep,
                overlap=overlap,
                shared=shared,
                linger=linger,
                resume=resume,
            ),
        )

    def callback(self, *arguments: Any, **options: Any) -> CallbackDecorator:
        """`flash.callback`, on this app instead of on the global registry."""
        return declare_callback(self._register, self._event_callbacks, arguments, options)

    def _register(self, *arguments: Any, **options: Any) -> Any:
        """Dash's own `app.callback`."""
        return cast("Any", super()).callback(*arguments, **options)

    def _nursery(self) -> trio.Nursery:
        """`app.server.nursery`."""
        try:
            return self.asgi_server.nursery
        except AttributeError:
            raise RequestRefused(
                503, "The server has not begun the app's ASGI lifespan, and can run no streams."
            ) from None

    def _nursery_for_channels(self) -> trio.Nursery:
        """The server's nursery, in which every channel is a task."""
        nursery = cast("object", self._nursery())
        return nursery.for_channels if isinstance(nursery, BackgroundTasks) else self._nursery()

    def serve_layout(self) -> Any:
        """Serve the layout, which names the page and its browser, and so must not be cached."""
        response = super().serve_layout()
        response.headers["Cache-Control"] = "no-store"
        backend: Any = cast("Any", self).backend
        return backend.add_browser_cookie(response)

    @property
    def layout(self) -> Any:
        """The layout: components, or a function, plain or async, that returns them anew for each page."""
        return _DASH_LAYOUT.fget(self)

    @layout.setter
    def layout(self, value: Any) -> None:
        _DASH_LAYOUT.fset(self, as_plain(value))

    def enable_pages(self) -> None:
        with _dash.calling_pages_plainly(self):
            super().enable_pages()

    def _executing(self, function: Any, arguments: Any, outputs: Any, context: Any) -> Any:
        execute = super()._executing(function, arguments, outputs, context)
        # On the event loop the result is awaited. MCP's tools call it in a thread, and need a plain value.
        return execute if trio.lowlevel.in_trio_run() else as_plain(execute)

    def get_layout(self) -> Any:
        """The layout of a page after its hooks, followed by the hidden components.

        Dash puts both into an element of its own, so that a style for `#react-entry-point > *`, or a height of 100 %,
        would not reach the page. Here the layout becomes a list, to which the hidden components are appended.
        """
        layout = cast("Any", super()).get_layout()
        hidden = _dash.extra_components(self)
        if not hidden:
            return layout
        return [*(layout if isinstance(layout, list | tuple) else [layout]), *hidden]

    def _layout_before_hooks(self) -> Any:
        """The layout before its hooks are called, without the hidden components."""
        layout = self.layout
        if not callable(layout):
            return layout
        # During set-up there is no request yet, and a layout function may need one, to find the user for example.
        return html.Div() if self._is_setting_up else layout()

    def _renderer_options(self) -> dict[str, Any]:
        """The configuration of the page's renderer, without the connections that no callback of the app uses.

        Dash 4.5 would have every page open a connection for Dash's own streams, and a websocket.
        """
        config = super()._renderer_options()
        if "stream" in config:
            config["stream"] = {"enabled": False}
        if not _dash.uses_websocket(self):
            config.pop("websocket", None)
        return config

    def _prepare_for_requests(self) -> None:
        """Set the app up, once. If that fails, every later request for a page fails with the same exception."""
        if self._setup_error is not None:
            raise self._setup_error.with_traceback(None)
        try:
            self._set_up()
        except Exception as error:
            self._setup_error = error
            raise

    def _set_up(self) -> None:
        if not _dash.is_set_up(self):
            streams = [*GLOBAL_EVENT_CALLBACKS.take(), *self._event_callbacks.take()]
            if streams:
                _dash.extra_components(self).extend([Page(), *streams])
        self._is_setting_up = True
        try:
            super()._prepare_for_requests()
        finally:
            self._is_setting_up = False
        for output, registered in cast("Any", self).callback_map.items():
            function = getattr(registered.get("callback"), "__wrapped__", None)
            if is_generator_function(function):
                raise InvalidEventCallback(
                    f"{name_of(function)!r} (Output {output}) is a generator under dash.callback, which Flash does not "
                    "stream: write `from flash import callback`, or app.callback."
                )
