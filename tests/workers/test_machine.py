"""A machine among several: which addresses and secrets are taken, and which are refused, with what sentence."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flash.errors import InvalidOption
from flash.workers.machine import Machine, new_name, read_machine
from flash.workers.signatures import NAME_SIZE

SECRET = "a secret of forty characters, or nearly so"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def refusal(advertise: str | None, secret_file: Path | None = None, **environment: str) -> str:
    """The sentence with which options are refused."""
    with pytest.raises(InvalidOption) as raised:
        read_machine(advertise, None if secret_file is None else str(secret_file), environment)
    return str(raised.value)


def test_without_options_there_is_one_machine() -> None:
    assert read_machine(None, None, {}) is None
    assert read_machine(None, None, {"FLASH_SECRET": SECRET}) is None


@pytest.mark.parametrize(
    "address", ["10.0.0.5:8051", "web-1.internal:8051", "[::1]:8051", "[fe80::1%eth0]:80", "web:0"]
)
def test_a_machine_has_an_address_and_a_secret_from_a_file_or_the_environment(address: str, secret_file: Path) -> None:
    expected = Machine(address, SECRET)
    assert read_machine(address, str(secret_file), {}) == expected
    assert read_machine(address, None, {"FLASH_SECRET": f" {SECRET}\n"}) == expected
    in_environment = {"FLASH_ADVERTISE": address, "FLASH_SECRET_FILE": str(secret_file)}
    assert read_machine(None, None, in_environment) == expected
    assert SECRET not in repr(expected)


@pytest.mark.parametrize("host", ["10.0.0.5", "web-1.internal", "[::1]"])
def test_an_address_without_a_port_has_any_free_one(host: str) -> None:
    assert read_machine(host, None, {"FLASH_SECRET": SECRET}) == Machine(f"{host}:0", SECRET)


def test_a_machine_that_leaves_the_port_to_the_system_has_it_in_its_address_when_it_listens() -> None:
    machine, listening = Machine("localhost:0", SECRET).listen()
    with listening:
        port = listening.getsockname()[1]
        assert port > 0
        assert machine == Machine(f"localhost:{port}", SECRET)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "8051",
        ":8051",
        "web:",
        "web:port",
        "web:65536",
        "a:b:1",
        "::1:80",
        "http://a:1",
        "a/b:1",
        " a:1",
    ],
)
def test_an_address_that_is_no_host_and_port_is_refused(address: str, secret_file: Path) -> None:
    assert refusal(address, secret_file) == (
        f"The advertised address {address}: write host:port, as other machines are to connect to it, or the host "
        "alone for any free port."
    )


def test_an_address_without_a_secret_is_refused_and_a_secret_without_an_address(secret_file: Path) -> None:
    assert "--advertise takes a secret that all machines share" in refusal("a:1")
    assert "say with --advertise host:port where this one is" in refusal(None, secret_file)


def test_two_secrets_are_refused(secret_file: Path) -> None:
    assert refusal("a:1", secret_file, FLASH_SECRET=SECRET) == (
        "There are two secrets, in --secret-file and in FLASH_SECRET: leave one out."
    )
    assert refusal("a:1", FLASH_SECRET_FILE=str(secret_file), FLASH_SECRET=SECRET) == (
        "There are two secrets, in FLASH_SECRET_FILE and in FLASH_SECRET: leave one out."
    )


def test_a_secret_that_is_empty_or_short_is_refused(secret_file: Path) -> None:
    secret_file.write_text(" \n")
    assert refusal("a:1", secret_file) == (
        f"The secret file {str(secret_file)!r} is empty: `openssl rand -hex 32` makes a secret."
    )
    secret_file.write_text("hunter2")
    assert "has a secret of 7 characters, fewer than 32" in refusal("a:1", secret_file)
    assert "FLASH_SECRET is empty" in refusal("a:1", FLASH_SECRET="")
    assert "FLASH_SECRET has a secret of 2 characters" in refusal("a:1", FLASH_SECRET="ab")


def test_a_secret_file_that_is_not_there_no_text_or_open_to_every_user_is_refused(secret_file: Path) -> None:
    assert refusal("a:1", secret_file.parent / "none").endswith("cannot be read: No such file or directory.")
    assert refusal("a:1", secret_file.parent).endswith("cannot be read: Is a directory.")
    secret_file.write_bytes(b"\xff" * 40)
    assert "is no text" in refusal("a:1", secret_file)
    secret_file.chmod(0o604)
    assert refusal("a:1", secret_file) == (
        f"The secret file {str(secret_file)!r} can be read by every user: `chmod 600` it."
    )
    # As a mounted secret of a container is, for the group of its processes.
    secret_file.chmod(0o640)
    secret_file.write_text(SECRET)
    assert read_machine("a:1", str(secret_file), {}) is not None


def listen(address: str) -> str:
    """The sentence with which an address is refused where this machine is to listen."""
    with pytest.raises(InvalidOption) as raised:
        Machine(address, SECRET).listen()[1].close()
    return str(raised.value)


def test_an_address_that_cannot_be_resolved_or_listened_on_is_refused() -> None:
    assert listen("no-such-host.invalid:8051").endswith("the name 'no-such-host.invalid' cannot be resolved.")
    assert "names no machine" in listen("0.0.0.0:8051")
    assert "names no machine" in listen("[::]:8051")
    assert listen("192.0.2.1:8051").endswith("this machine cannot listen there: Cannot assign requested address.")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert listen(f"127.0.0.1:{taken.getsockname()[1]}").endswith(
            "Address already in use. Without a port, a free one is taken."
        )


def test_a_worker_is_named_after_its_socket_and_belongs_to_one_machine() -> None:
    machine = Machine("10.0.0.5:8051", SECRET)
    name = new_name()
    assert len(name) == NAME_SIZE
    address = machine.address_of(f"/run/flash/{name}.sock")
    assert address == f"10.0.0.5:8051/{name}"
    assert machine.is_here(address)
    assert not machine.is_here(f"10.0.0.6:8051/{name}")
