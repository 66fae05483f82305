"""What is measured of pictures. Each module is one metric, found by its name."""

from evaluation.metrics.base import Metric
from foundation import plugins

PRIMARY = "similarity"
"""The one that decides; all others guard or inform."""


def all_metrics() -> list[Metric]:
    """Every metric, the primary first."""
    names = sorted(plugins.names(__name__), key=lambda name: (name != PRIMARY, name))
    found = [plugins.get(__name__, name, "METRIC", "metric") for name in names]
    return [metric for metric in found if isinstance(metric, Metric)]
