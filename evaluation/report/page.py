"""``report.html``: one file with everything in it, images, styles and script, that works offline."""

import base64
import io
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from evaluation.report import plots
from evaluation.report.rendering import render
from evaluation.report.view_model import Shown
from evaluation.results import HELD_OUT

_LARGEST = 768
"""Pixels that an image's longer edge has at the most in the page; the files beside it are whole."""


def render_page(shown: Shown) -> str:
    """The page."""
    templates = files("evaluation") / "templates"
    return render(
        "report.html.j2",
        shown,
        style=Markup(templates.joinpath("report.css").read_text(encoding="utf-8")),
        script=Markup(templates.joinpath("report.js").read_text(encoding="utf-8")),
        curves=[(metric, Markup(plots.curve(shown, metric))) for metric in shown.measured],
        source=lambda name: _embedded(shown.folder / name),
        references=[f"{HELD_OUT}/{path.name}" for path in sorted((shown.folder / HELD_OUT).glob("*"))],
    )


def _embedded(path: Path) -> str:
    """An image as a data URL."""
    kept = io.BytesIO()
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_LARGEST, _LARGEST))
        small.save(kept, format="webp", quality=88, method=4)
    return f"data:image/webp;base64,{base64.b64encode(kept.getvalue()).decode('ascii')}"
