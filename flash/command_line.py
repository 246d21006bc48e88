"""The command `flash`: `flash run module:app` serves an app, `flash --version` prints versions."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import logging
import os
import platform
import shlex
import sys
from collections.abc import Generator, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any

from hypercorn.config import Config

from . import Flash, __version__, dash_version
from .errors import FlashError, InvalidOption
from .server.run_options import number_of_workers
from .server.serving import check_can_listen, run, run_workers
from .server.shutdown import RELOADED, SHUTDOWN_TIMEOUT
from .workers.machine import ADVERTISE_VARIABLE, FILE_VARIABLE, VARIABLE as SECRET_VARIABLE, Machine
from .workers.machine_options import find_machine
from .workers.redis_claims import URL_VARIABLE
from .workers.this_worker import this_worker

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class CannotRun(FlashError):
    """The command line cannot be carried out as it stands."""


def main(arguments: list[str] | None = None) -> None:
    """The console command `flash`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.reload:
            _run_again_on_changes(sys.argv[1:] if arguments is None else arguments, options)
        else:
            logging.basicConfig(level=options.log_level.upper(), format=LOG_FORMAT)
            if options.forwarded_allow_ips is not None:
                os.environ["FORWARDED_ALLOW_IPS"] = options.forwarded_allow_ips
            config = _config(options)
            workers = _number_of_workers(options)
            # A worker has it from its supervisor, whatever has become of the file with the secret.
            machine = None if this_worker() is not None else _machine(options)
            if this_worker() is not None or (workers == 1 and machine is None):
                # Of what has been loaded so far nothing is garbage: what looks for some is not to go through it.
                gc.freeze()
                _serve(load(options.app), config)
            else:
                _supervise(config, workers, machine, options, arguments)
    except CannotRun as error:
        parser.exit(2, f"flash: {error}\n")


def _serve(app: Flash, config: Config) -> None:
    with _saying_what_is_wrong(config):
        run(app, config)


def _supervise(
    config: Config, workers: int, machine: Machine | None, options: argparse.Namespace, arguments: list[str] | None
) -> None:
    from .server.reloading import same_command

    command = same_command() if arguments is None else [sys.executable, "-m", "flash", *arguments]
    with _saying_what_is_wrong(config):
        try:
            run_workers(command, config, workers, options.socket_directory, machine)
        except InvalidOption as error:
            raise CannotRun(str(error)) from error


@contextlib.contextmanager
def _saying_what_is_wrong(config: Config) -> Generator[None]:
    """Raise CannotRun if the block cannot listen, or a file of the configuration is not there."""
    for name in ("certfile", "keyfile", "ca_certs"):
        path = getattr(config, name)
        if path is not None and not os.path.isfile(path):
            raise CannotRun(f"there is no file {path!r}.")
    try:
        yield
    except OSError as error:
        raise CannotRun(f"cannot listen on {config.bind[0]}: {error.strerror or error}.") from error


def _machine(options: argparse.Namespace) -> Machine | None:
    """This machine among several; None if it is the only one."""
    try:
        return find_machine(options.redis, options.advertise, options.secret_file)
    except InvalidOption as error:
        raise CannotRun(str(error)) from error


def _number_of_workers(options: argparse.Namespace) -> int:
    try:
        return number_of_workers(options.workers, f"--workers {options.workers}")
    except InvalidOption as error:
        raise CannotRun(str(error)) from error


def load(path: str) -> Flash:
    """The Flash app that `module:attribute` names; the attribute may also be its server, and is `app` if left out.

    Raises:
        CannotRun: there is no such module or attribute, or it is not a Flash app.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise CannotRun(f"{path!r} does not name a module. Write module:app, without .py and with dots for slashes.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise CannotRun(f"there is no module {module_name!r} here. Write module:app.") from None
    found: Any = module
    attribute = attribute or "app"
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise CannotRun(f"the module {module_name!r} has no {attribute!r}.{_apps_in(module)}")
        found = getattr(found, name)
    app = found if isinstance(found, Flash) else getattr(found, "extensions", {}).get("flash")
    if isinstance(app, Flash):
        return app
    raise CannotRun(f"{path!r} is not a Flash app, but {found!r}.{_apps_in(module)}")


def _apps_in(module: ModuleType) -> str:
    """A sentence that says how to run each Flash app of a module; one that says that there is none."""
    names = [f"{module.__name__}:{name}" for name, value in vars(module).items() if isinstance(value, Flash)]
    if not names:
        return " There is no Flash app in it."
    return f" There is {' and '.join(names)}."


def _versions() -> str:
    """The versions that a bug report needs, one on each line."""
    return (
        f"flash {__version__}\nDash {dash_version}\nTrio {metadata.version('trio')}\nPython {platform.python_version()}"
    )


class _Versions(argparse.Action):
    """Prints the versions, which are looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"{_versions()}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flash", description="Dash on Trio.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=_Versions, help="print the versions of Flash and what it runs on")
    command = parser.add_subparsers(required=True).add_parser("run", help="serve an app", allow_abbrev=False)
    command.add_argument("app", help="the app, as module:attribute")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    command.add_argument("--port", type=int, default=8050, help="the port; 0 for any free one (default: %(default)s)")
    command.add_argument(
        "--workers",
        type=int,
        default=1,
        help="the number of processes that serve; 0 for one for each CPU (default: %(default)s)",
    )
    command.add_argument(
        "--socket-directory",
        metavar="PATH",
        help="a folder of your own, mode 0700, in which workers have their sockets (default: a new one)",
    )
    command.add_argument(
        "--redis",
        metavar="URL",
        help="the Redis that several machines share, as redis://host:6379/0; rediss:// for TLS "
        f"(default: {URL_VARIABLE}, which shows no password in the list of processes)",
    )
    command.add_argument(
        "--advertise",
        metavar="HOST:PORT",
        help=f"where other machines that share the Redis reach this one (default: {ADVERTISE_VARIABLE})",
    )
    command.add_argument(
        "--secret-file",
        metavar="PATH",
        help=f"the file with the secret that the machines share (default: {FILE_VARIABLE}, or the secret itself in "
        f"{SECRET_VARIABLE})",
    )
    command.add_argument("--reload", action="store_true", help="start again when a file below this folder changes")
    command.add_argument("--certfile", help="a TLS certificate: serve HTTPS, and HTTP/2 with it")
    command.add_argument("--keyfile", help="the key of the certificate")
    command.add_argument("--ca-certs", help="certificates by which clients must be known")
    command.add_argument("--root-path", default="", help="the path under which a proxy serves the app")
    command.add_argument("--backlog", type=int, default=100, help="connections that may wait (default: %(default)s)")
    command.add_argument(
        "--keep-alive",
        type=float,
        default=5,
        help="seconds for which an idle connection is kept (default: %(default)s)",
    )
    command.add_argument(
        "--graceful-timeout",
        type=float,
        default=SHUTDOWN_TIMEOUT,
        help="seconds that streams, their clean-up and requests have when the server stops (default: %(default)s)",
    )
    command.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded-For and X-Forwarded-Proto count, with commas between; * for everybody "
        "(default: FORWARDED_ALLOW_IPS, else this machine)",
    )
    command.add_argument("--access-log", action="store_true", help="log every request to the standard output")
    command.add_argument(
        "--log-level",
        default="info",
        choices=["critical", "error", "warning", "info", "debug"],
        help="(default: %(default)s)",
    )
    return parser


def _config(options: argparse.Namespace) -> Config:
    if (options.certfile is None) != (options.keyfile is None):
        raise CannotRun("--certfile and --keyfile go together.")
    config = Config()
    config.bind = [f"{options.host}:{options.port}"]
    config.certfile = options.certfile
    config.keyfile = options.keyfile
    config.ca_certs = options.ca_certs
    config.root_path = options.root_path
    config.backlog = options.backlog
    config.keep_alive_timeout = options.keep_alive
    config.graceful_timeout = options.graceful_timeout
    # Hypercorn's own handler would log everything a second time.
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = "-" if options.access_log else None
    return config


def _run_again_on_changes(arguments: list[str], options: argparse.Namespace) -> None:
    import watchfiles

    config = _config(options)
    with _saying_what_is_wrong(config):
        check_can_listen(config)
    os.environ[RELOADED] = "true"
    command = [sys.executable, "-m", "flash", *[argument for argument in arguments if argument != "--reload"]]
    watchfiles.run_process(
        ".",
        target=shlex.join(command),
        target_type="command",
        sigint_timeout=options.graceful_timeout + 1,
        watch_filter=watchfiles.PythonFilter(),
    )
