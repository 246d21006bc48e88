"""One log of several workers: each line is whole, and has the number of its worker."""

from __future__ import annotations

import io

import trio
import trio.testing
from hypothesis import given, strategies as st

from flash.workers.log_lines import LONGEST_LINE, LineSplitter, LogWriter


class Closed(io.BytesIO):
    """A file that nobody reads any more."""

    def write(self, data: object) -> int:
        raise BrokenPipeError


@given(st.lists(st.binary()))
def test_each_line_has_the_prefix_however_the_bytes_are_cut(pieces: list[bytes]) -> None:
    splitter = LineSplitter(b"[2] ")
    copied = b"".join(splitter.feed(piece) for piece in pieces) + splitter.end()
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert copied == b"".join(b"[2] " + line + b"\n" for line in lines)


def test_a_line_without_an_end_is_broken() -> None:
    splitter = LineSplitter(b"[2] ")
    copied = splitter.feed(b"x" * (LONGEST_LINE + 1))
    assert copied == b"[2] " + b"x" * (LONGEST_LINE + 1) + b"\n"
    assert splitter.end() == b""


async def test_lines_of_several_workers_do_not_mix() -> None:
    file = io.BytesIO()
    log = LogWriter(file)
    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            ours, theirs = trio.testing.memory_stream_one_way_pair()
            nursery.start_soon(log.copy, theirs, f"[{number}] ")

            async def write(ours: trio.testing.MemorySendStream, number: int) -> None:
                for _ in range(100):
                    await ours.send_all(b"half of ")
                    await ours.send_all(b"%d\n" % number)
                await ours.aclose()

            nursery.start_soon(write, ours, number)
    lines = file.getvalue().splitlines()
    assert sorted(lines) == [b"[1] half of 1"] * 100 + [b"[2] half of 2"] * 100


async def test_workers_go_on_when_nobody_reads_the_log() -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    await ours.send_all(b"line\n")
    await ours.aclose()
    await LogWriter(Closed()).copy(theirs, "[1] ")
