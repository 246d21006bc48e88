"""Measures a server: Prometheus metrics, the lag of the event loop, and who blocks it.

The metrics need `prometheus-client` (`pip install flash-trio[metrics]`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import trio

from ..cancel_scopes import EndReason
from ..errors import InvalidOption
from ..streams.observer import Observer
from ..streams.stream import TASK_NAME

if TYPE_CHECKING:
    from ..streams.limits import StreamInfo

_log = logging.getLogger("flash.server")

LAG_INTERVAL = 1.0
"""Seconds between two measurements of the event loop's lag."""

BLOCKED = 0.1
"""Seconds that a step of a stream may hold the event loop before debug mode names it: what a user begins to feel."""


class Metrics(Observer):
    """Counts what streams do, for Prometheus.

    Args:
        streams: lists the streams that run.
        websockets: counts the websockets that are open.

    Raises:
        InvalidOption: `prometheus-client` is not installed.
    """

    def __init__(self, streams: Callable[[], Iterable[StreamInfo]], websockets: Callable[[], int]) -> None:
        try:
            import prometheus_client as prometheus
            from prometheus_client.core import GaugeMetricFamily
            from prometheus_client.registry import Collector
        except ImportError as error:
            raise InvalidOption(
                "metrics=True of Flash(...) needs prometheus-client: pip install 'flash-trio[metrics]'."
            ) from error
        self.content_type = prometheus.CONTENT_TYPE_LATEST
        self._generate = prometheus.generate_latest
        self._registry = registry = prometheus.CollectorRegistry()
        callback = ["callback"]

        class Running(Collector):
            def collect(self) -> Iterator[Any]:
                family = GaugeMetricFamily(
                    "flash_streams", "Streams that the server holds.", labels=["callback", "state"]
                )
                counts: dict[tuple[str, str], int] = {}
                for info in streams():
                    counts[info.callback, info.state] = counts.get((info.callback, info.state), 0) + 1
                for values, count in counts.items():
                    family.add_metric(values, count)
                yield family

        registry.register(Running())
        sockets = prometheus.Gauge("flash_websockets", "Websockets that are open.", registry=registry)
        sockets.set_function(websockets)
        self._started = prometheus.Counter("flash_streams_started", "Streams that opened.", callback, registry=registry)
        self._ended = prometheus.Counter(
            "flash_streams_ended", "Streams that ended.", ["callback", "reason"], registry=registry
        )
        self._updates = prometheus.Counter(
            "flash_updates", "Updates of streams that ended.", callback, registry=registry
        )
        self._bytes = prometheus.Counter("flash_update_bytes", "Bytes of these updates.", callback, registry=registry)
        self._first = prometheus.Histogram(
            "flash_first_update_seconds", "From open to the first update.", callback, registry=registry
        )
        self._cancel = prometheus.Histogram(
            "flash_cancel_to_end_seconds", "From a cancellation to the stream's end.", callback, registry=registry
        )
        self._waits = prometheus.Histogram(
            "flash_buffer_wait_seconds", "Waits of generators for room in the buffer.", callback, registry=registry
        )
        self._lag = prometheus.Histogram(
            "flash_event_loop_lag_seconds",
            "By how much a timer of the event loop was late.",
            buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )

    def started(self, callback: str) -> None:
        self._started.labels(callback).inc()

    def sent_first(self, callback: str, seconds: float) -> None:
        self._first.labels(callback).observe(seconds)

    def waited(self, callback: str, seconds: float) -> None:
        self._waits.labels(callback).observe(seconds)

    def ended(self, callback: str, reason: EndReason, updates: int, size: int, since_cancel: float | None) -> None:
        self._ended.labels(callback, str(reason)).inc()
        self._updates.labels(callback).inc(updates)
        self._bytes.labels(callback).inc(size)
        if since_cancel is not None:
            self._cancel.labels(callback).observe(since_cancel)

    def expose(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return self._generate(self._registry)

    async def watch_lag(self) -> None:
        """Measure the event loop's lag, for ever."""
        while True:
            began = trio.current_time()
            await trio.sleep(LAG_INTERVAL)
            self._lag.observe(max(0.0, trio.current_time() - began - LAG_INTERVAL))


class BlockWatch(trio.abc.Instrument):
    """Warns of generators that hold the event loop, by name."""

    def __init__(self) -> None:
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        held = time.perf_counter() - self._began
        if held > BLOCKED and task.name.startswith(TASK_NAME):
            _log.warning(
                "The event callback %r held the event loop for %.0f ms: nothing else ran meanwhile. Await "
                "trio.to_thread.run_sync for what blocks, or make it a plain `def` generator, which runs in a thread.",
                task.name.removeprefix(TASK_NAME),
                1_000 * held,
            )
