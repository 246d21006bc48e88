"""Reads the options by which this machine serves an app together with others: they go together, or are all left out.

    --redis redis://host:6379/0     the Redis that all machines share      or FLASH_REDIS_URL
    --advertise 10.0.0.5:8051       where the others reach this machine    or FLASH_ADVERTISE
    --secret-file /run/secret       the secret that all machines share     or FLASH_SECRET_FILE, FLASH_SECRET

`app.run` has the same as keywords. A process that another server has started, such as Hypercorn, has the variables.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption
from .machine import Machine, read_machine
from .redis_claims import URL_VARIABLE, check_url


def find_machine(redis: str | None, advertise: str | None, secret_file: str | None) -> Machine | None:
    """This machine as the options describe it; None if it serves alone.

    The address of Redis is in the environment then, where the workers find it.

    Raises:
        InvalidOption: an option cannot be used, or another one is missing.
    """
    url = os.environ.get(URL_VARIABLE) if redis is None else redis
    if url is not None:
        check_url(url)
    machine = read_machine(advertise, secret_file, os.environ)
    if machine is None and url is not None:
        raise InvalidOption("--redis is for several machines: say with --advertise host:port where this one is.")
    if machine is not None and url is None:
        raise InvalidOption(
            f"--advertise takes a Redis that all machines share: name it with --redis, or set {URL_VARIABLE}."
        )
    if url is not None:
        os.environ[URL_VARIABLE] = url
    return machine
