"""Prometheus metrics: images, errors, waiting requests, durations and peak memory."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zthumb.server.queue.generation_queue import GenerationResult
from zthumb.server.request_resolver import ResolvedRequest

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, depth: Callable[[], float], is_ready: Callable[[], float]) -> None:
        """Create the metrics.

        ``depth`` returns the number of waiting requests, ``is_ready`` 1 once an image was made; both are called at each scrape.
        """
        self._registry = CollectorRegistry()
        self._images = Counter("zthumb_images", "Images generated", ["variant"], registry=self._registry)
        self._refused = Counter("zthumb_refused", "Requests answered with an error", ["status"], registry=self._registry)
        self._generation_seconds = Histogram(
            "zthumb_generation_seconds", "Generation time of a request", ["variant"], buckets=_SECONDS, registry=self._registry
        )
        self._waiting_seconds = Histogram(
            "zthumb_waiting_seconds", "Time a request waited in the queue", buckets=_SECONDS, registry=self._registry
        )
        self._peak = Gauge("zthumb_peak_memory_bytes", "Peak memory of the last request", registry=self._registry)
        for name, description, function in (
            ("zthumb_queue_depth", "Waiting requests", depth),
            ("zthumb_ready", "1 once an image was generated", is_ready),
        ):
            Gauge(name, description, registry=self._registry).set_function(function)

    def generated(self, resolved: ResolvedRequest, result: GenerationResult) -> None:
        """Record a generated request."""
        self._images.labels(resolved.backend_key.variant).inc(len(resolved.params))
        self._generation_seconds.labels(resolved.backend_key.variant).observe(result.generate_s)
        self._waiting_seconds.observe(result.queue_s)
        self._peak.set(result.peak_bytes)

    def refused(self, status: int) -> None:
        """Record a request that was answered with an error."""
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
