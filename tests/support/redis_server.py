"""A real Redis of a test, on a port of its own, which can be silenced, stopped, and started again.

with RedisServer.started(tmp_path) as redis:
    redis.silence()         # it takes connections, and does not answer
    redis.go_on()
    redis.restart()         # it has forgotten everything
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Self

from tests.support.connections import free_port
from tests.support.processes import Process, running

REDIS = os.environ.get("REDIS", "/usr/bin/redis-server")


class RedisServer:
    """One Redis, whose process may be replaced.

    Attributes:
        port: where it listens.
        url: its address, as clients of it are told.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process: Process
        self._running = contextlib.ExitStack()

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path, *options: str) -> Generator[Self]:
        """A Redis while the block runs.

        Args:
            folder: in which it runs.
            options: of its command line.
        """
        redis = cls(folder, options)
        redis.start()
        try:
            yield redis
        finally:
            redis.stop()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += self._options
        self._process = self._running.enter_context(running(command, self._folder))
        self._process.wait_for(lambda: "Ready to accept connections" in self._process.output, "Redis is ready")

    def stop(self) -> None:
        """End it at once."""
        self._running.close()

    def restart(self) -> None:
        """Have it forget everything, and every connection to it break."""
        self.stop()
        self.start()

    def silence(self) -> None:
        """Have it answer nothing, though connections to it look healthy."""
        self._process.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        self._process.send(signal.SIGCONT)
