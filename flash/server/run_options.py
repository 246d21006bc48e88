"""Reads the keywords of `app.run` beyond Dash's own: those of Flask's `run` and those of Hypercorn's Config.

Of Flask's keywords, those with a counterpart here are translated (`ssl_context`, `use_reloader`, `extra_files`), those
that only configure Werkzeug's server are ignored, and those whose effect would silently be missing are refused.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypercorn.config import Config
from werkzeug.serving import make_ssl_devcert

from ..errors import InvalidOption

IGNORED = frozenset(
    {
        "load_dotenv",
        "passthrough_errors",
        "processes",
        "reloader_interval",
        "reloader_type",
        "threaded",
        "use_debugger",
        "use_evalex",
    }
)
"""Keywords of Flask's `run` that configure how Werkzeug does what Flash does its own way, or does not need."""

REFUSED = {
    "request_handler": "Hypercorn serves, not Werkzeug: use app.server.before_request and after_request.",
    "static_files": "Use a route or a static folder of app.server.",
}


class ContextConfig(Config):
    """Hypercorn's Config, with an `ssl.SSLContext` that the app has made."""

    ssl_context: ssl.SSLContext | None = None

    @property
    def ssl_enabled(self) -> bool:
        return self.ssl_context is not None or super().ssl_enabled

    def create_ssl_context(self) -> ssl.SSLContext | None:
        if self.ssl_context is None:
            return super().create_ssl_context()
        self.ssl_context.set_alpn_protocols(self.alpn_protocols)
        return self.ssl_context


@dataclass
class RunOptions:
    """The options of one call of `app.run`.

    Attributes:
        config: the configuration for Hypercorn.
        reload: whether the program starts again when its code changes; None if the call does not say.
        extra_files: paths of files that count as code.
        exclude_patterns: patterns of paths that do not count.
        workers: the number of processes that serve.
        socket_directory: the folder for the sockets of several workers; None for a new one.
        redis: the address of the Redis that several machines share; None for that in the environment, if any.
        advertise: where other machines reach this one, as host:port; None if it is the only one.
        secret_file: the file with the secret that machines share; None for the secret in the environment.
    """

    config: ContextConfig = field(default_factory=ContextConfig)
    reload: bool | None = None
    extra_files: list[str] = field(default_factory=list[str])
    exclude_patterns: list[str] = field(default_factory=list[str])
    workers: int = 1
    socket_directory: str | None = None
    redis: str | None = None
    advertise: str | None = None
    secret_file: str | None = None


def read_run_options(keywords: Mapping[str, Any]) -> RunOptions:
    """The options that the keywords of `app.run` stand for which Dash leaves to its backend.

    Raises:
        TypeError: neither Flask nor Hypercorn has such an option.
        InvalidOption: Flash does not support an option of Flask's.
    """
    options = RunOptions()
    for name, value in keywords.items():
        if name in IGNORED:
            continue
        if name in REFUSED:
            raise InvalidOption(f"app.run({name}=...) means nothing to Flash. {REFUSED[name]}")
        if name == "use_reloader":
            options.reload = bool(value)
        elif name == "extra_files":
            options.extra_files = _strings(value)
        elif name == "exclude_patterns":
            options.exclude_patterns = _strings(value)
        elif name == "workers":
            options.workers = number_of_workers(value, f"app.run(workers={value!r})")
        elif name in ("socket_directory", "redis", "advertise", "secret_file"):
            setattr(options, name, None if value is None else str(value))
        elif name == "ssl_context":
            _encrypt(options.config, value)
        elif hasattr(options.config, name):
            setattr(options.config, name, value)
        else:
            raise TypeError(
                f"app.run() got an unexpected keyword argument {name!r}: neither Flask's run nor Hypercorn has it."
            )
    return options


def number_of_workers(value: object, option: str) -> int:
    """The number of processes that serve, which an option says; 0 stands for one for each CPU of this process.

    Raises:
        InvalidOption: it is no such number.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidOption(f"{option}: write a number of processes, or 0 for one for each CPU.")
    return value or cpus()


def cpus() -> int:
    """The number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _strings(values: Iterable[Any] | None) -> list[str]:
    return [str(value) for value in values or ()]


def _encrypt(config: ContextConfig, context: Any) -> None:
    """Serve HTTPS with Flask's `ssl_context`: a pair of files, a context, or "adhoc"."""
    match context:
        case None:
            pass
        case ssl.SSLContext():
            config.ssl_context = context
        case "adhoc":
            with tempfile.TemporaryDirectory() as folder:
                certificate, key = make_ssl_devcert(str(Path(folder) / "adhoc"), cn="localhost")
                config.ssl_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                config.ssl_context.load_cert_chain(certificate, key)
        case (certificate, key):
            config.certfile, config.keyfile = str(certificate), str(key)
        case _:
            raise InvalidOption(
                f"app.run(ssl_context={context!r}): write (certificate, key), two paths; or an ssl.SSLContext; or "
                '"adhoc".'
            )
