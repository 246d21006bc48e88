"""Runs the command `flash`, and notes when each write of its process to a socket has returned: for `benchmarks.alone`.

    python -m benchmarks.apps.noted_writes run module:app

Whatever version of Flash writes, and whether it does so itself or has Trio do it, ends up in one of two functions. Both
are replaced before Trio is imported, which keeps the one that it finds.
"""

from __future__ import annotations

import os
import socket
import sys
from time import perf_counter_ns
from typing import Any


class Writes:
    """What is known of the writes so far.

    Attributes:
        count: how many there were.
        returned: when the last one had returned, on the clock of `time.perf_counter_ns`.
    """

    count = 0
    returned = 0


def note() -> None:
    """Note the writes from now on."""
    write, send = os.write, socket.socket.send

    def noted_write(fileno: int, data: bytes) -> int:
        written = write(fileno, data)
        Writes.returned = perf_counter_ns()
        Writes.count += 1
        return written

    def noted_send(self: socket.socket, *arguments: Any) -> int:
        sent = send(self, *arguments)
        Writes.returned = perf_counter_ns()
        Writes.count += 1
        return sent

    os.write, socket.socket.send = noted_write, noted_send


if __name__ == "__main__":
    # The app imports this module by its name, and is to find these notes.
    sys.modules["benchmarks.apps.noted_writes"] = sys.modules["__main__"]
    note()

    from flash.command_line import main

    main()
