"""Plot every metric against the scale, with 95 % intervals over prompts, as SVG."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.metrics.base import Metric
from evaluation.report.view_model import ReportView, format_interval
from evaluation.results import Candidate

_TEXT_COLOUR = "#010203"
"""Replaced by the colour of the page's text when a plot is embedded in the page."""
_LINE_COLOURS = ("#2f7ed8", "#e07b00", "#2e9e5b", "#a64ac9", "#c8385a")
_BOUND_COLOUR = "#d0342c"


def plot_metric(view: ReportView, metric: Metric) -> str:
    """Return one metric's plot to embed in a page: its axes and text take the colour of the page's text."""
    with _style():
        figure = Figure(figsize=(4.2, 2.7), layout="constrained")
        _draw(figure.subplots(), view, metric)
        svg = _svg(figure, transparent=True).replace(_TEXT_COLOUR, "currentColor")
    # Several SVGs in one page must not share ids.
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{metric.name}-", svg[svg.index("<svg") :])
    view_box = re.search(r'viewBox="[^"]+"', svg)
    assert view_box is not None
    return f'<svg role="img" aria-label="{_describe(view, metric)}" {view_box[0]}>' + svg[svg.index(">") + 1 :]


def plot_all(view: ReportView) -> str:
    """Return the plots of all metrics as one SVG on a white background."""
    with _style():
        count = len(view.measured_metrics)
        columns = min(3, count)
        figure = Figure(figsize=(3.7 * columns, 2.7 * -(-count // columns)), layout="constrained", facecolor="white")
        axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for index, metric in enumerate(view.measured_metrics):
            _draw(axes[index], view, metric)
        for unused in axes[count:]:
            unused.set_axis_off()
        return _svg(figure, transparent=False)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    settings: dict[Any, Any] = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _TEXT_COLOUR),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        "svg.hashsalt": "zthumb",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
    }
    with matplotlib.rc_context(settings):
        yield


def _draw(axes: Axes, view: ReportView, metric: Metric) -> None:
    base = view.columns[0].candidate
    for index, adapter in enumerate(view.results.adapters):
        candidates = [base, *(column.candidate for column in view.columns if column.candidate.adapter == adapter.name)]
        _draw_line(axes, candidates, metric, _LINE_COLOURS[index % len(_LINE_COLOURS)], adapter.name)
    if (bound := _guard_bound(view, metric)) is not None:
        axes.axhline(bound, color=_BOUND_COLOUR, linestyle=(0, (4, 3)), linewidth=1)
        position = ("axes fraction", "data")
        axes.annotate("guard", (1, bound), xycoords=position, ha="right", va="bottom", fontsize=7, color=_BOUND_COLOUR)
    axes.set(title=metric.title, xlabel="LoRA scale")
    axes.set_xticks(sorted({column.candidate.lora_scale for column in view.columns}))
    if len(view.results.adapters) > 1:
        axes.legend(fontsize=7, frameon=False)


def _draw_line(axes: Axes, candidates: Sequence[Candidate], metric: Metric, colour: str, label: str) -> None:
    values = [
        (candidate.lora_scale, candidate.figures[metric.name].value)
        for candidate in candidates
        if metric.name in candidate.figures
    ]
    points = [(scale, value) for scale, value in values if value is not None]
    axes.plot(
        [scale for scale, _ in points], [value.mean for _, value in points], color=colour, marker="o", markersize=4, label=label
    )
    bounded = [(scale, value.low, value.high) for scale, value in points if value.low is not None and value.high is not None]
    if bounded:
        scales, lows, highs = zip(*bounded, strict=True)
        axes.fill_between(scales, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _guard_bound(view: ReportView, metric: Metric) -> float | None:
    """Return the guard's bound as a value of the metric; a bound on the change is added to the base's mean."""
    guards = [guard for column in view.columns for guard in column.candidate.guards if guard.metric == metric.name]
    if not guards:
        return None
    guard, base = guards[0].guard, view.columns[0].candidate.figures[metric.name].value
    bound = guard.at_least if guard.at_least is not None else guard.at_most
    assert bound is not None
    return bound if guard.of == "value" or base is None else base.mean + bound


def _describe(view: ReportView, metric: Metric) -> str:
    """Return the plot as text, for screen readers."""
    values = [
        f"{column.label}: {format_interval(column.candidate.figures[metric.name].value)}"
        for column in view.columns
        if metric.name in column.candidate.figures
    ]
    return f"{metric.title} by LoRA scale; {'; '.join(values)}".replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _svg(figure: Figure, transparent: bool) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
