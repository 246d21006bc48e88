"""`flash run`: what it serves, and the sentence and the exit status with which it says that it cannot."""

from __future__ import annotations

import os
import platform
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import dash
import h11
import pytest
import trio

import flash
from flash.command_line import main
from flash.workers.socket_directory import socket_directory
from tests.faults.conftest import Certificate
from tests.faults.sockets import Site, flash_run, serving
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.processes import UNCLOSED_SOCKET, Process, python
from tests.support.redis_server import RedisServer

APP = """
from flash import Flash, html

app = Flash(__name__)
app.layout = html.Div("first")
text = "not an app"
"""


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says on stderr when it exits with status 2: one sentence."""
    with pytest.raises(SystemExit) as exited:
        main(["run", *arguments])
    assert exited.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command is run; its modules have a name of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def module(folder: Path, name: str, source: str = APP) -> str:
    (folder / f"{name}.py").write_text(source)
    return name


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_is_on_stdout_and_the_status_is_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 0
    assert "run" in capsys.readouterr().out


def test_help_names_every_option_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    for option in ("--host", "--port", "--workers", "--reload", "--certfile", "--keyfile", "--graceful-timeout"):
        assert option in text


def test_no_command_and_an_unknown_option_are_errors_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["run"], ["run", "served:app", "--nonsense"], ["run", "served:app", "--port", "x"]):
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        assert exited.value.code == 2
        assert "usage: flash" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["no_such_module", "no_such_module:app", "no_such.module:app"])
def test_a_module_that_is_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, name)
    assert said == f"flash: there is no module {name.partition(':')[0]!r} here. Write module:app.\n"


@pytest.mark.parametrize("attribute", ["ap", "other.app", "app.other"])
def test_a_module_without_such_a_name_says_which_apps_it_has(
    attribute: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = module(folder, "misspelt", APP)
    said = refusal(capsys, f"{name}:{attribute}")
    assert said == f"flash: the module {name!r} has no {attribute!r}. There is {name}:app.\n"


def test_a_module_without_an_app_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = module(folder, "without_app", "")
    assert refusal(capsys, name) == f"flash: the module {name!r} has no 'app'. There is no Flash app in it.\n"


def test_something_else_is_not_a_flash_app(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = module(folder, "with_text", APP)
    said = refusal(capsys, f"{name}:text")
    assert said == f"flash: '{name}:text' is not a Flash app, but 'not an app'. There is {name}:app.\n"


def test_a_dash_app_is_not_a_flash_app(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = module(folder, "dash_app", "import dash\napp = dash.Dash(__name__)\n")
    assert "is not a Flash app" in refusal(capsys, name)


@pytest.mark.parametrize(
    "path", ["", ":app", "served.py", "served.py:app", "./served:app", "pack/served:app", "..:app"]
)
def test_a_path_that_is_no_modules_name(path: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module(folder, "served")
    assert refusal(capsys, path).startswith("flash: ")


def test_a_module_that_needs_another_one_that_is_not_there_says_which(folder: Path) -> None:
    name = module(folder, "needy", "import not_installed_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        main(["run", name])


def test_a_number_of_workers_below_0_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, module(folder, "for_workers"), "--workers", "-1")
    assert said == "flash: --workers -1: write a number of processes, or 0 for one for each CPU.\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--redis", "redis:/host"), "--redis redis:/host: write redis://host:6379/0, or rediss:// for TLS."),
        (
            ("--redis", "redis://host"),
            "--redis is for several machines: say with --advertise host:port where this one is.",
        ),
        (
            ("--redis", "redis://host", "--advertise", "10.0.0.5:8051"),
            "--advertise takes a secret that all machines share: name its file with --secret-file or "
            "FLASH_SECRET_FILE, or set FLASH_SECRET.",
        ),
    ],
    ids=["malformed", "without an address", "without a secret"],
)
def test_options_for_several_machines_that_cannot_be_used_are_refused(
    options: tuple[str, ...], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, module(folder, "for_machines"), *options) == f"flash: {sentence}\n"


def test_a_machine_without_a_redis_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_SECRET", "a secret of tests that is long enough")
    said = refusal(capsys, module(folder, "for_machines"), "--advertise", "10.0.0.5:8051")
    assert said == (
        "flash: --advertise takes a Redis that all machines share: name it with --redis, or set FLASH_REDIS_URL.\n"
    )


def test_a_redis_that_does_not_answer_is_refused_before_anything_listens(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_SECRET", "a secret of tests that is long enough")
    url = f"redis://127.0.0.1:{free_port()}"
    monkeypatch.setenv("FLASH_REDIS_URL", url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal(capsys, module(folder, "for_machines"), "--advertise", "127.0.0.1:28051", "--port", port)
    assert said.startswith(f"flash: --redis {url}: Redis cannot be used there: ")


def another_users(directory: Path) -> str:
    """Make a directory one of another user; or name one that is, where that cannot be done."""
    if os.geteuid() != 0:
        return "/"
    os.chown(directory, 65_534, 65_534)
    return str(directory)


def open_to_others(directory: Path) -> str:
    directory.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _: os.devnull, f"'{os.devnull}' is no directory, and so cannot be the socket directory."),
        (another_users, "The socket directory {!r} belongs to another user: name one of your own."),
        (open_to_others, "The socket directory {!r} is open to other users: `chmod 700` it."),
        (str, "Another supervisor uses the socket directory {!r}: give each one of its own."),
    ],
    ids=["no directory", "another user's", "open to others", "another supervisor's"],
)
def test_a_socket_directory_that_cannot_be_used_is_refused_before_anything_listens(
    make: Callable[[Path], str],
    sentence: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLASH_SECRET", "a secret of tests that is long enough")
    app = module(folder, "for_sockets")
    with (
        RedisServer.started(folder) as redis,
        # A path of `tmp_path` would be too long for sockets.
        tempfile.TemporaryDirectory() as path,
        socket_directory(path),
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as also_taken,
    ):
        monkeypatch.setenv("FLASH_REDIS_URL", redis.url)
        directory = make(Path(path))
        ports = [str(each.getsockname()[1]) for each in (taken, also_taken)]
        options = ("--port", ports[0], "--advertise", f"127.0.0.1:{ports[1]}", "--socket-directory", directory)
        assert refusal(capsys, app, *options) == f"flash: {sentence.format(directory)}\n"


@pytest.mark.parametrize("option", ["--certfile", "--keyfile"])
def test_a_certificate_and_its_key_go_together(option: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, module(folder, f"tls_{option[2:]}"), option, "some.pem")
    assert said == "flash: --certfile and --keyfile go together.\n"


def refusal_of_a_process(folder: Path, *options: str) -> str:
    """The same, of a process that has come as far as to listen."""
    module(folder, "served")
    with python(folder, *flash_run(*options), ignored=UNCLOSED_SOCKET) as process:
        assert process.wait(30) == 2, process.output
        assert "Traceback" not in process.output
        assert process.output.startswith("flash: ")
        assert process.output.count("\n") == 1
        return process.output


@pytest.mark.parametrize("option", ["--certfile", "--keyfile"])
def test_a_certificate_that_is_not_there(option: str, folder: Path, certificate: Certificate) -> None:
    files = {"--certfile": certificate.certfile, "--keyfile": certificate.keyfile, option: "missing.pem"}
    assert "missing.pem" in refusal_of_a_process(folder, *[part for item in files.items() for part in item])


@pytest.mark.parametrize("options", [[], ["--reload"]], ids=["served", "with the reloader"])
def test_a_port_that_is_taken(options: list[str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal_of_a_process(folder, "--port", port, *options)
        assert said == f"flash: cannot listen on 127.0.0.1:{port}: Address already in use.\n"


def test_an_address_that_is_not_this_machines(folder: Path) -> None:
    assert "192.0.2.1" in refusal_of_a_process(folder, "--host", "192.0.2.1")


async def text_of(site: Site) -> str:
    return str((await site.get("/_dash-layout")).json()["props"]["children"])


@pytest.mark.parametrize("path", ["served", "served:app", "served:app.server"])
async def test_an_app_is_served_by_module_by_app_and_by_server(path: str, tmp_path: Path) -> None:
    command = ("-m", "flash", "run", path, "--port", "0")
    async with serving(tmp_path, *command, source=APP) as (process, site):
        assert await text_of(site) == "first"
        process.send(signal.SIGTERM)
        assert await process.status() == 0


async def test_an_app_in_a_package_is_served(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "inner.py").write_text(APP)
    command = ("-m", "flash", "run", "pack.inner:app", "--port", "0", "--access-log")
    async with serving(tmp_path, *command, source="") as (process, site):
        assert await text_of(site) == "first"
        await eventually(lambda: "/_dash-layout" in process.output)


async def test_tls_is_served(tmp_path: Path, certificate: Certificate) -> None:
    options = ("--certfile", certificate.certfile, "--keyfile", certificate.keyfile)
    async with serving(tmp_path, *options, source=APP, tls=certificate.trust) as (_, site):
        assert await text_of(site) == "first"


def test_a_process_that_cannot_run_says_one_sentence_and_exits_with_status_2(tmp_path: Path) -> None:
    with python(tmp_path, "-m", "flash", "run", "missing:app") as process:
        assert process.wait(30) == 2
        assert process.output == "flash: there is no module 'missing' here. Write module:app.\n"


async def until_served(process: Process, text: str) -> None:
    """Return when the server that listens last says so; "" stands for none that answers."""

    async def is_served() -> bool:
        try:
            return await text_of(Site(process.ports[-1])) == text
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
            return not text

    await eventually(is_served, f"{text!r} is served" if text else "no server listens")


async def test_reload_starts_again_when_a_file_changes_and_stops_with_everything(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(APP)
    with python(tmp_path, *flash_run("--reload", "--graceful-timeout", "5")) as process:
        process.wait_for_port()
        await until_served(process, "first")
        (tmp_path / "served.py").write_text(APP.replace("first", "second"))
        await until_served(process, "second")
        # A mistake ends the server, not the reloading.
        (tmp_path / "served.py").write_text(APP + "mistake(\n")
        await eventually(lambda: "SyntaxError" in process.output)
        (tmp_path / "served.py").write_text(APP.replace("first", "third"))
        await until_served(process, "third")
        process.send(signal.SIGTERM)
        assert await process.status() == 0
        await until_served(process, "")


def test_version_names_flash_and_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--version"])
    assert exited.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        f"flash {flash.__version__}",
        f"Dash {dash.__version__}",
        f"Trio {trio.__version__}",
        f"Python {platform.python_version()}",
    ]
