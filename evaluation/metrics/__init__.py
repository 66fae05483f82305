"""The metrics of images. Each module is one metric, found by its name."""

from evaluation.metrics.base import Metric
from foundation import plugins

PRIMARY = "similarity"
"""The metric that decides; all others guard or inform."""


def get_metric(name: str) -> Metric:
    """Return the metric named ``name``."""
    metric = plugins.get(__name__, name, "METRIC", "metric")
    assert isinstance(metric, Metric)
    return metric


def all_metrics() -> list[Metric]:
    """Return every metric, the primary one first."""
    return [get_metric(name) for name in sorted(plugins.names(__name__), key=lambda name: (name != PRIMARY, name))]
