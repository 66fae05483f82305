"""The course of a run in one image, drawn from its logs alone."""

import json
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foundation.files import atomic_file
from training.validation.records import Validation

NAME = "curves.png"
_SMOOTHED_OVER = 25


def draw(metrics: Path, looks: list[Validation], target: Path) -> None:
    """Draw losses, held-out losses with their intervals, the strata and the rate of ``metrics.jsonl`` to ``target``."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    with matplotlib.rc_context({"svg.hashsalt": "curves", "font.size": 9}):
        figure = Figure(figsize=(11, 6.5), layout="constrained")
        axes = figure.subplots(2, 2)
        _losses(axes[0, 0], lines)
        _held_out(axes[0, 1], looks)
        _strata(axes[1, 0], looks)
        _rate(axes[1, 1], lines)
        with atomic_file(target) as path:
            figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _losses(axes: Axes, lines: list[dict[str, float]]) -> None:
    steps = [line["step"] for line in lines]
    losses = [line["loss"] for line in lines]
    axes.plot(steps, losses, color="tab:blue", alpha=0.2, linewidth=0.8)
    axes.plot(steps, _smoothed(losses), color="tab:blue", label="concept")
    if any(line["prior"] for line in lines):
        axes.plot(steps, _smoothed([line["prior"] for line in lines]), color="tab:green", label="prior")
    axes.set(title="loss of the trained images", xlabel="step", yscale="log")
    axes.legend()


def _held_out(axes: Axes, looks: list[Validation]) -> None:
    axes.set(title="held-out loss, change from the base", xlabel="step")
    axes.axhline(0, color="grey", linewidth=0.8)
    if not looks:
        axes.text(0.5, 0.5, "no images were held out", ha="center", transform=axes.transAxes)
        return
    steps = [look.step for look in looks]
    axes.plot(steps, [look.change.mean for look in looks], color="tab:red", marker="o", label=f"{looks[0].images} held out")
    bounds = [(look.change.low, look.change.high) for look in looks]
    if all(low is not None and high is not None for low, high in bounds):
        low, high = zip(*bounds, strict=True)
        axes.fill_between(steps, low, high, color="tab:red", alpha=0.15, linewidth=0)
    trained = [look.change.mean - look.gap for look in looks]
    axes.plot(steps, trained, color="tab:blue", linestyle="--", label="trained")
    axes.legend()


def _strata(axes: Axes, looks: list[Validation]) -> None:
    axes.set(title="held-out loss by timestep, relative to the base", xlabel="timestep")
    axes.axhline(1, color="grey", linewidth=0.8)
    trained = [look for look in looks if look.step > 0]
    colours = matplotlib.colormaps["viridis"]
    for place, look in enumerate(trained):
        ratios = [stratum.loss.mean / (stratum.loss.mean - stratum.change.mean) for stratum in look.strata]
        timesteps = [stratum.timestep for stratum in look.strata]
        axes.plot(timesteps, ratios, color=colours(place / max(1, len(trained) - 1)), label=f"step {look.step}")
    if trained:
        axes.legend(ncols=2)


def _rate(axes: Axes, lines: list[dict[str, float]]) -> None:
    steps = [line["step"] for line in lines]
    axes.plot(steps, [line["rate"] for line in lines], color="tab:purple", label="learning rate")
    axes.set(title="learning rate and gradient norm", xlabel="step")
    norms = axes.twinx()
    norms.plot(steps, _smoothed([line["gradient_norm"] for line in lines]), color="tab:orange", label="gradient norm")
    norms.set_yscale("log")
    axes.legend(loc="upper left")
    norms.legend(loc="upper right")


def _smoothed(values: list[float]) -> list[float]:
    """The mean over the last values, fewer at the start."""
    return [sum(values[max(0, end - _SMOOTHED_OVER) : end]) / min(end, _SMOOTHED_OVER) for end in range(1, len(values) + 1)]
