"""Measures a server for Prometheus: its streams, feeds and websockets, and the lag of its event loop.

The metrics need `prometheus-client` (`pip install flash-trio[metrics]`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import trio

from ..errors import InvalidOption
from ..shared.listing import FeedInfo, without_arguments
from ..streams.limits import StreamInfo
from ..streams.observer import ObservedStream, Observer, StreamEnd

LAG_INTERVAL = 1.0
"""Seconds between two measurements of the event loop's lag."""


def join(exposed: Mapping[str, str | None]) -> bytes:
    """Make one text of the metrics of several workers.

    Args:
        exposed: for the name of each worker what its `Metrics.expose` has returned; None if it did not answer.

    Returns:
        All their samples, each with the label `worker`, and which workers have answered.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.parser import text_string_to_metric_families
    from prometheus_client.registry import Collector

    families: dict[str, Metric] = {}
    answered = GaugeMetricFamily("flash_worker_up", "Whether a worker has answered for its metrics.", labels=["worker"])
    for worker, text in exposed.items():
        answered.add_metric([worker], 0 if text is None else 1)
        for found in text_string_to_metric_families(text or ""):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            family.samples += [sample._replace(labels={**sample.labels, "worker": worker}) for sample in found.samples]

    class Joined(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from families.values()
            yield answered

    registry = CollectorRegistry()
    registry.register(Joined())
    return generate_latest(registry)


class Metrics(Observer):
    """Counts and measures streams and feeds, for Prometheus.

    Args:
        streams: returns the streams that run.
        websockets: returns the number of open websockets.
        feeds: returns the sources that run.
        yielded: returns how many values each feed has yielded.

    Raises:
        InvalidOption: `prometheus-client` is not installed.
    """

    def __init__(
        self,
        streams: Callable[[], Iterable[StreamInfo]],
        websockets: Callable[[], int],
        feeds: Callable[[], Iterable[FeedInfo]],
        yielded: Callable[[], Mapping[str, int]],
    ) -> None:
        try:
            import prometheus_client as prometheus
            from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
            from prometheus_client.registry import Collector
        except ImportError as error:
            raise InvalidOption(
                "metrics=True of Flash(...) needs prometheus-client: pip install 'flash-trio[metrics]'."
            ) from error
        self.content_type = prometheus.CONTENT_TYPE_LATEST
        self._generate = prometheus.generate_latest
        self._registry = registry = prometheus.CollectorRegistry()
        callback = ["callback"]

        class StreamsByState(Collector):
            def collect(self) -> Iterator[Any]:
                family = GaugeMetricFamily(
                    "flash_streams", "Streams that the server holds.", labels=["callback", "state"]
                )
                for labels, count in Counter((info.callback, info.state) for info in streams()).items():
                    family.add_metric(labels, count)
                yield family

        class Feeds(Collector):
            """What is known of the sources of feeds, which are not labelled by their arguments: those may be many."""

            def collect(self) -> Iterator[Any]:
                sources = GaugeMetricFamily("flash_feeds", "Sources of feeds that run.", labels=["feed", "state"])
                followers = GaugeMetricFamily("flash_feed_followers", "Who follows these sources.", labels=["feed"])
                values = CounterMetricFamily("flash_feed_values", "Values that feeds have yielded.", labels=["feed"])
                by_state, by_feed = Counter[tuple[str, str]](), Counter[str]()
                for info in feeds():
                    feed = without_arguments(info.feed)
                    by_state[feed, info.state] += 1
                    by_feed[feed] += len(info.followers)
                for labels, count in by_state.items():
                    sources.add_metric(labels, count)
                for feed, count in by_feed.items():
                    followers.add_metric([feed], count)
                for feed, count in yielded().items():
                    values.add_metric([feed], count)
                yield from (sources, followers, values)

        registry.register(StreamsByState())
        registry.register(Feeds())
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
        self._lag_watch = trio.CancelScope()
        self._lag = prometheus.Histogram(
            "flash_event_loop_lag_seconds",
            "By how much a timer of the event loop was late.",
            buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )

    def started(self, stream: ObservedStream) -> None:
        self._started.labels(stream.spec.callback).inc()

    def sent_first(self, stream: ObservedStream, seconds: float) -> None:
        self._first.labels(stream.spec.callback).observe(seconds)

    def waited(self, stream: ObservedStream, seconds: float) -> None:
        self._waits.labels(stream.spec.callback).observe(seconds)

    def ended(self, stream: ObservedStream, end: StreamEnd) -> None:
        callback = stream.spec.callback
        self._ended.labels(callback, str(end.reason)).inc()
        self._updates.labels(callback).inc(end.updates)
        self._bytes.labels(callback).inc(end.size)
        if end.since_cancel is not None:
            self._cancel.labels(callback).observe(end.since_cancel)

    def expose(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return self._generate(self._registry)

    def watch_lag(self, nursery: trio.Nursery) -> None:
        """Measure the event loop's lag every `LAG_INTERVAL`, in a task of this nursery, until `end_lag_watch`."""
        self._lag_watch = trio.CancelScope()
        nursery.start_soon(self._measure_lag, self._lag_watch)

    def end_lag_watch(self) -> None:
        """Stop measuring the lag: else the server would wait for the task when it stops."""
        self._lag_watch.cancel()

    async def _measure_lag(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                began = trio.current_time()
                await trio.sleep(LAG_INTERVAL)
                self._lag.observe(max(0.0, trio.current_time() - began - LAG_INTERVAL))
