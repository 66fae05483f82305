"""Curves of every metric against the scale, with 95 % intervals over prompts, as SVG."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.metrics.base import Metric
from evaluation.report.view_model import Shown, interval
from evaluation.results import Candidate

_INK = "#010203"
_LINES = ("#2f7ed8", "#e07b00", "#2e9e5b", "#a64ac9", "#c8385a")
_LIMIT = "#d0342c"


def curve(shown: Shown, metric: Metric) -> str:
    """One metric's curve, to be put into a page: its lines and letters take the colour of the page's text."""
    with _style():
        figure = Figure(figsize=(4.2, 2.7), layout="constrained")
        _draw(figure.subplots(), shown, metric)
        text = _svg(figure, transparent=True).replace(_INK, "currentColor")
    # Several drawings in one page may not share their ids.
    named = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{metric.name}-", text[text.index("<svg") :])
    view = re.search(r'viewBox="[^"]+"', named)
    assert view is not None
    return f'<svg role="img" aria-label="{_told(shown, metric)}" {view[0]}>' + named[named.index(">") + 1 :]


def sheet(shown: Shown) -> str:
    """All curves on one sheet with a white ground."""
    with _style():
        count = len(shown.measured)
        columns = min(3, count)
        figure = Figure(figsize=(3.7 * columns, 2.7 * -(-count // columns)), layout="constrained", facecolor="white")
        axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for place, metric in enumerate(shown.measured):
            _draw(axes[place], shown, metric)
        for spare in axes[count:]:
            spare.set_axis_off()
        return _svg(figure, transparent=False)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    settings: dict[Any, Any] = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        "svg.hashsalt": "zthumb",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
    }
    with matplotlib.rc_context(settings):
        yield


def _draw(axes: Axes, shown: Shown, metric: Metric) -> None:
    base = shown.columns[0].candidate
    for place, adapter in enumerate(shown.results.adapters):
        course = [base, *(each.candidate for each in shown.columns if each.candidate.adapter == adapter.name)]
        _line(axes, course, metric, _LINES[place % len(_LINES)], adapter.name)
    if (limit := _limit(shown, metric)) is not None:
        axes.axhline(limit, color=_LIMIT, linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate("guard", (1, limit), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7, color=_LIMIT)
    axes.set(title=metric.title, xlabel="LoRA scale")
    axes.set_xticks(sorted({column.candidate.lora_scale for column in shown.columns}))
    if len(shown.results.adapters) > 1:
        axes.legend(fontsize=7, frameon=False)


def _line(axes: Axes, course: Sequence[Candidate], metric: Metric, colour: str, label: str) -> None:
    found = [(each.lora_scale, each.figures[metric.name].value) for each in course if metric.name in each.figures]
    points = [(scale, value) for scale, value in found if value is not None]
    axes.plot(
        [scale for scale, _ in points], [value.mean for _, value in points], color=colour, marker="o", markersize=4, label=label
    )
    bounded = [(scale, value.low, value.high) for scale, value in points if value.low is not None and value.high is not None]
    if bounded:
        scales, lows, highs = zip(*bounded, strict=True)
        axes.fill_between(scales, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _limit(shown: Shown, metric: Metric) -> float | None:
    """The guard's bound as a value of the metric: one on the change lies so far from the base's mean."""
    found = [guard for column in shown.columns for guard in column.candidate.guards if guard.metric == metric.name]
    if not found:
        return None
    guard, base = found[0].guard, shown.columns[0].candidate.figures[metric.name].value
    bound = guard.at_least if guard.at_least is not None else guard.at_most
    assert bound is not None
    return bound if guard.of == "value" or base is None else base.mean + bound


def _told(shown: Shown, metric: Metric) -> str:
    """The curve in words, for those who do not see it."""
    values = [
        f"{column.label}: {interval(column.candidate.figures[metric.name].value)}"
        for column in shown.columns
        if metric.name in column.candidate.figures
    ]
    return f"{metric.title} by LoRA scale; {'; '.join(values)}".replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _svg(figure: Figure, transparent: bool) -> str:
    kept = io.StringIO()
    figure.savefig(kept, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    return re.sub(r"\s*<metadata>.*?</metadata>", "", kept.getvalue(), flags=re.DOTALL)
