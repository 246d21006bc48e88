"""Copies what workers write to the supervisor's own log, each line with the number of its worker.

A worker's standard output and standard error are pipes. So not only records of `logging` have the number, but
tracebacks and what the app prints as well, and lines of different workers do not mix.
"""

from __future__ import annotations

from typing import BinaryIO

import trio

LONGEST_LINE = 65_536
"""Bytes after which a line is broken: nothing more of it is kept in memory."""


class LineSplitter:
    """Makes lines of bytes, however those are cut, and puts a prefix before each."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def end(self) -> bytes:
        """The last line, if no end of line has come."""
        rest, self._rest = self._rest, b""
        return self._prefix + rest + b"\n" if rest else b""


class LogWriter:
    """Writes lines to a file, in a thread: whoever reads the log may be slow, or not read at all."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def copy(self, source: trio.abc.ReceiveStream, prefix: str) -> None:
        """Copy lines until `source` ends."""
        splitter = LineSplitter(prefix.encode())
        async for data in source:
            await self._write(splitter.feed(bytes(data)))
        await self._write(splitter.end())

    async def _write(self, lines: bytes) -> None:
        if lines:
            await trio.to_thread.run_sync(self._write_now, lines, limiter=self._one_at_a_time, abandon_on_cancel=True)

    def _write_now(self, lines: bytes) -> None:
        try:
            self._file.write(lines)
            self._file.flush()
        except (OSError, ValueError):
            # Nobody reads the log any more. Workers that write to it go on.
            pass
