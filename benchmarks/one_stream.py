"""One stream of small updates, yielded without pause: updates per second and server CPU per update.

    python -m benchmarks.one_stream [--updates 200000] [--runs 3]

Starts, each in a process of its own and in turn, a raw ASGI app on Hypercorn's trio worker that writes the same
frames, one per message and 64 per message, and a Flash app; reads each with the same client, which acknowledges as a
page does. Prints the medians, the spread, and Flash's rate beside the raw app's at 64 frames per message.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
TARGET = 0.35
"""Of the raw app's rate with 64 frames per message: what Flash is to reach."""


@dataclass(frozen=True)
class Run:
    """One run: its rate, and the CPU that the server spent on an update."""

    rate: float
    microseconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    cases: dict[str, Callable[[], Run]] = {
        "raw ASGI, 1 frame per message": lambda: raw(options.updates // 10, 1),
        "raw ASGI, 64 frames per message": lambda: raw(options.updates, 64),
        "Flash": lambda: flash(options.updates),
    }
    results: dict[str, list[Run]] = {name: [] for name in cases}
    for _ in range(options.runs):
        for name, measure in cases.items():
            results[name].append(measure())
    print(f"{'':34}{'updates/s':>12}{'spread':>9}{'CPU us':>9}")
    for name, runs in results.items():
        rates = [run.rate for run in runs]
        spread = (max(rates) - min(rates)) / statistics.median(rates)
        cpu = statistics.median(run.microseconds for run in runs)
        print(f"{name:34}{statistics.median(rates):12,.0f}{spread:9.0%}{cpu:9.1f}")
    flash_rate, raw_rate = (
        statistics.median(run.rate for run in results[name]) for name in ("Flash", "raw ASGI, 64 frames per message")
    )
    print(f"Flash / raw at 64 frames: {flash_rate / raw_rate:.2f} (target {TARGET})")


def raw(updates: int, batch: int) -> Run:
    """The raw app: what Hypercorn's trio worker can do at the most."""
    with server("benchmarks.raw_app:app", "hypercorn", "-k", "trio", "-b") as port:
        before = cpu_of(server_pids[-1])
        began = time.perf_counter()
        with connect(port, f"/?updates={updates}&batch={batch}") as stream:
            read_to_end(stream, lambda event: None)
        return Run(updates / (time.perf_counter() - began), (cpu_of(server_pids[-1]) - before) / updates * 1e6)


def flash(updates: int) -> Run:
    """The same frames from an event callback."""
    with (
        server("benchmarks.flash_app:app", "flash", "run", "--port") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        client.get("/")
        found = re.search(r'"token":"([^"]+)"', client.get("/_dash-layout").text)
        assert found is not None
        token, cookie = found[1], client.cookies["flash_browser"]
        callback = client.get("/_dash-dependencies").json()[0]
        inputs = [{"id": "go", "property": "n_clicks", "value": updates}, {**callback["inputs"][1], "value": None}]
        body = {
            "output": callback["output"],
            "inputs": inputs,
            "state": [{"id": "_flash", "property": "token", "value": token}],
            "changedPropIds": ["go.n_clicks"],
        }
        with connect(port, f"/_flash/events?page={token}", cookie) as stream:

            def acknowledge(event: str) -> None:
                client.post("/_flash/ack", json={"page": token, "event": event})

            before = cpu_of(server_pids[-1])
            began = time.perf_counter()
            assert client.post("/_dash-update-component", json=body).status_code == 204
            read_to_end(stream, acknowledge)
            took = time.perf_counter() - began
        return Run(updates / took, (cpu_of(server_pids[-1]) - before) / updates * 1e6)


server_pids: list[int] = []


@contextmanager
def server(app: str, module: str, *arguments: str) -> Iterator[int]:
    """Run a server of `app` on a free port of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = str(port) if module == "flash" else f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments, address, app],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)
        server_pids.append(worker_of(process.pid))
        yield port
    finally:
        process.terminate()
        process.wait()


def worker_of(pid: int) -> int:
    """The process that serves: Hypercorn's command starts one; ours is one."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    serving = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return serving[-1] if serving else pid


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def connect(port: int, target: str, cookie: str = "") -> Iterator[socket.socket]:
    """An event stream."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: flash_browser={cookie}\r\n\r\n"
        stream.sendall(request.encode())
        yield stream


def read_to_end(stream: socket.socket, acknowledge: Callable[[str], None]) -> None:
    """Read up to the `end` event; acknowledge at each `ping`."""
    tail = b""
    while b"event: end" not in tail:
        data = stream.recv(1 << 20)
        assert data, "the server has closed the connection"
        tail = tail[-200:] + data
        if b"event: ping" in data:
            ids = re.findall(rb"id: ([0-9a-f]{8}\.\d+)\n", tail)
            if ids:
                acknowledge(ids[-1].decode())


def frame(number: int) -> bytes:
    """The frame that the raw app writes: as long as Flash's."""
    data = json.dumps({"stream": "01234567-1", "props": [["out", {"children": number}]]}, separators=(",", ":"))
    return f"id: 01234567.{number}\nevent: props\ndata: {data}\n\n".encode()


if __name__ == "__main__":
    main()
