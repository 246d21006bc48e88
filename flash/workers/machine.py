"""This machine among several: the address that it advertises to the others, and the secret that it shares with them.

All workers of a machine are reached at one address, host:port, where their supervisor listens. The address of one
worker has the worker's name after a slash, `10.0.0.5:8051/3f9a01b2c4d5`, and the worker's unix socket has the same
name. So a worker of the same machine needs no more than the address to find the socket.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from ..errors import InvalidOption
from .signatures import NAME_SIZE

VARIABLE = "FLASH_SECRET"
"""The variable of the environment that may have the secret."""

SECRET_LENGTH = 32
"""Characters that a secret has at least."""

BACKLOG = 1_000
"""Connections of other machines that may wait until they are accepted: as many as a burst of requests brings."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


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
        address: where workers of other machines connect, as host:port.
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

    def listen(self) -> socket.socket:
        """A socket that listens at the address of this machine.

        Raises:
            InvalidOption: that cannot be done.
        """
        host, port = host_and_port(self.address)
        try:
            family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise InvalidOption(f"--advertise {self.address}: the name {host!r} cannot be resolved.") from error
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ip_address(str(name[0]).partition("%")[0]).is_unspecified:
                raise InvalidOption(f"--advertise {self.address} names no machine: others have to connect to it.")
            listening.bind(name)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise InvalidOption(
                f"--advertise {self.address}: this machine cannot listen there: {error.strerror}."
            ) from error
        except BaseException:
            listening.close()
            raise
        return listening


def read_machine(advertise: str | None, secret_file: str | None, environment: Mapping[str, str]) -> Machine | None:
    """The machine that the options describe; None if this one is the only one.

    Args:
        advertise: the option, host:port.
        secret_file: the path of the file with the secret.
        environment: may have the secret instead.

    Raises:
        InvalidOption: an option cannot be used, or another one is missing.
    """
    if advertise is None:
        if secret_file is not None:
            raise InvalidOption(
                "--secret-file is for several machines: say with --advertise host:port where this one is."
            )
        return None
    found = _ADDRESS.fullmatch(advertise)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise InvalidOption(f"--advertise {advertise}: write host:port, as other machines are to connect to it.")
    from_environment = environment.get(VARIABLE)
    if secret_file is not None and from_environment is not None:
        raise InvalidOption(f"There are two secrets, in --secret-file and in {VARIABLE}: leave one out.")
    if secret_file is not None:
        return Machine(advertise, _check(_read(secret_file), f"The secret file {secret_file!r}"))
    if from_environment is None:
        raise InvalidOption(
            f"--advertise takes a secret that all machines share: name its file with --secret-file, or set {VARIABLE}."
        )
    return Machine(advertise, _check(from_environment, VARIABLE))


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
