"""Render ``report.html``: one file that contains images, styles and script, and works offline."""

import base64
import io
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from evaluation.report import plots
from evaluation.report.rendering import render_template
from evaluation.report.view_model import ReportView
from evaluation.results import HELD_OUT

_MAX_EDGE = 768
"""Pixels of an image's longer edge in the page, at most; the image files next to the page have full size."""


def render_page(view: ReportView) -> str:
    """Return the page as HTML."""
    templates = files("evaluation") / "templates"
    return render_template(
        "report.html.j2",
        view,
        style=Markup(templates.joinpath("report.css").read_text(encoding="utf-8")),
        script=Markup(templates.joinpath("report.js").read_text(encoding="utf-8")),
        curves=[(metric, Markup(plots.plot_metric(view, metric))) for metric in view.measured_metrics],
        source=lambda name: _data_url(view.folder / name),
        references=[f"{HELD_OUT}/{path.name}" for path in sorted((view.folder / HELD_OUT).glob("*"))],
    )


def _data_url(path: Path) -> str:
    """Return an image as a data URL."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_MAX_EDGE, _MAX_EDGE))
        small.save(buffer, format="webp", quality=88, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
