"""This machine among several: the address that it advertises to the others, and the secret that it shares with them.

All workers of a machine are reached at one address, host:port, where their supervisor listens. The address of one
worker has the worker's name after a slash, `10.0.0.5:8051/3f9a01b2c4d5`, and the worker's unix socket has the same
name. So a worker of the same machine needs no more than the address to find the socket.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

from ..errors import InvalidOption
from .signatures import NAME_SIZE

VARIABLE, FILE_VARIABLE = "FLASH_SECRET", "FLASH_SECRET_FILE"
"""The variables of the environment that may have the secret, or the path of the file with it."""

ADVERTISE_VARIABLE = "FLASH_ADVERTISE"
"""The variable of the environment that may have the address."""

SECRET_LENGTH = 32
"""Characters that a secret has at least."""

BACKLOG = 1_000
"""Connections of other machines that may wait until they are accepted: as many as a burst of requests brings."""

ANY_PORT = "0"
"""The port of an address that leaves it to the system."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+)(:(?P<port>[0-9]{1,5}))?")


def new_name() -> str:
    """A name for a worker that no other worker of its machine has, or has had."""
    return secrets.token_hex(NAME_SIZE // 2)


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of host:port, a host of IPv6 without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Machine:
    """One of several machines that serve an app.

    Attributes:
        address: where workers of other machines connect, as host:port; with port 0, any free one, until it listens.
        secret: is shared by all machines.
    """

    address: str
    secret: str = field(repr=False)

    def address_of(self, socket_path: str) -> str:
        """The address for other machines of the worker that has this unix socket."""
        return f"{self.address}/{Path(socket_path).stem}"

    def is_here(self, address: str) -> bool:
        """Whether this is the address of a worker on this machine."""
        return address.rpartition("/")[0] == self.address

    def listen(self) -> tuple[Machine, socket.socket]:
        """Listen at the address of this machine.

        Returns:
            This machine, with the port at which it listens; and the socket.

        Raises:
            InvalidOption: that cannot be done.
        """
        host, port = host_and_port(self.address)
        try:
            family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise InvalidOption(
                f"The advertised address {self.address}: the name {host!r} cannot be resolved."
            ) from error
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ip_address(str(name[0]).partition("%")[0]).is_unspecified:
                raise InvalidOption(
                    f"The advertised address {self.address} names no machine: others have to connect to it."
                )
            listening.bind(name)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            help_ = " Without a port, a free one is taken." if error.errno == errno.EADDRINUSE else ""
            raise InvalidOption(
                f"The advertised address {self.address}: this machine cannot listen there: {error.strerror}.{help_}"
            ) from error
        except BaseException:
            listening.close()
            raise
        bound = f"{self.address.rpartition(':')[0]}:{listening.getsockname()[1]}"
        return replace(self, address=bound), listening


def read_machine(advertise: str | None, secret_file: str | None, environment: Mapping[str, str]) -> Machine | None:
    """The machine that the options describe; None if this one is the only one.

    Args:
        advertise: host:port, or a host, whose port is any free one.
        secret_file: the path of the file with the secret.
        environment: may have the secret instead, and either of the options.

    Raises:
        InvalidOption: an option cannot be used, or another one is missing.
    """
    advertise = environment.get(ADVERTISE_VARIABLE) if advertise is None else advertise
    if advertise is None:
        if secret_file is not None:
            raise InvalidOption(
                "--secret-file is for several machines: say with --advertise host:port where this one is."
            )
        return None
    found = _ADDRESS.fullmatch(advertise)
    if found is None or found["host"].isdecimal() or int(found["port"] or ANY_PORT) >= 65_536:
        raise InvalidOption(
            f"The advertised address {advertise}: write host:port, as other machines are to connect to it, or the host "
            "alone for any free port."
        )
    address = f"{found['host']}:{found['port'] or ANY_PORT}"
    from_environment = environment.get(VARIABLE)
    file_option = FILE_VARIABLE if secret_file is None else "--secret-file"
    secret_file = environment.get(FILE_VARIABLE) if secret_file is None else secret_file
    if secret_file is not None and from_environment is not None:
        raise InvalidOption(f"There are two secrets, in {file_option} and in {VARIABLE}: leave one out.")
    if secret_file is not None:
        return Machine(address, _check(_read(secret_file), f"The secret file {secret_file!r}"))
    if from_environment is None:
        raise InvalidOption(
            "--advertise takes a secret that all machines share: name its file with --secret-file or "
            f"{FILE_VARIABLE}, or set {VARIABLE}."
        )
    return Machine(address, _check(from_environment, VARIABLE))


def _read(path: str) -> str:
    """The text of the file with the secret."""
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & stat.S_IROTH:
                raise InvalidOption(f"The secret file {path!r} can be read by every user: `chmod 600` it.")
            return file.read()
    except UnicodeDecodeError as error:
        raise InvalidOption(f"The secret file {path!r} is no text: `openssl rand -hex 32` makes one.") from error
    except OSError as error:
        raise InvalidOption(f"The secret file {path!r} cannot be read: {error.strerror}.") from error


def _check(text: str, where: str) -> str:
    """The secret in a text, without the line break that an editor has put at its end."""
    secret = text.strip()
    if not secret:
        raise InvalidOption(f"{where} is empty: `openssl rand -hex 32` makes a secret.")
    if len(secret) < SECRET_LENGTH:
        raise InvalidOption(
            f"{where} has a secret of {len(secret)} characters, fewer than {SECRET_LENGTH}: "
            "`openssl rand -hex 32` makes one."
        )
    return secret
