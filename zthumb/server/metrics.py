"""What Prometheus reads: how much is asked, how much waits, how long it takes, how much memory it took."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zthumb.server.generation_queue import GenerationResult
from zthumb.server.request_resolver import ResolvedRequest

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self, depth: Callable[[], float], is_ready: Callable[[], float]) -> None:
        """``depth`` tells how many requests wait, ``is_ready`` whether an image was made; both are asked when they are read."""
        self._registry = CollectorRegistry()
        self._images = Counter("zthumb_images", "Images made", ["variant"], registry=self._registry)
        self._refused = Counter("zthumb_refused", "Requests that made no image", ["status"], registry=self._registry)
        self._generating = Histogram(
            "zthumb_generation_seconds", "Generation of a request", ["variant"], buckets=_SECONDS, registry=self._registry
        )
        self._waiting = Histogram("zthumb_waiting_seconds", "Waiting of a request", buckets=_SECONDS, registry=self._registry)
        self._peak = Gauge("zthumb_peak_memory_bytes", "The most memory that a request took", registry=self._registry)
        for name, told, read in (
            ("zthumb_queue_depth", "Requests that wait", depth),
            ("zthumb_ready", "1 once an image was made", is_ready),
        ):
            Gauge(name, told, registry=self._registry).set_function(read)

    def generated(self, resolved: ResolvedRequest, generated: GenerationResult) -> None:
        """A request was generated."""
        self._images.labels(resolved.backend_key.variant).inc(len(resolved.params))
        self._generating.labels(resolved.backend_key.variant).observe(generated.generate_s)
        self._waiting.observe(generated.queue_s)
        self._peak.set(generated.peak_bytes)

    def refused(self, status: int) -> None:
        """A request was answered with an error."""
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)
