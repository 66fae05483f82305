"""What is measured of images. Each module is one metric, found by its name."""

from evaluation.metrics.base import Metric
from foundation import plugins

PRIMARY = "similarity"
"""The one that decides; all others guard or inform."""


def named(name: str) -> Metric:
    """The metric called ``name``."""
    found = plugins.get(__name__, name, "METRIC", "metric")
    assert isinstance(found, Metric)
    return found


def all_metrics() -> list[Metric]:
    """Every metric, the primary first."""
    return [named(name) for name in sorted(plugins.names(__name__), key=lambda name: (name != PRIMARY, name))]
