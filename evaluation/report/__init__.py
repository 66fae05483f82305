"""Render the reports. They are pure functions of the results and the images: rendered twice, they are the same bytes."""

from pathlib import Path

from evaluation.results import Results
from foundation.files import atomic_file, write_text

MARKDOWN, PAGE = "report.md", "report.html"
OVERVIEW, CURVES, CLOSEST = "overview.webp", "curves.svg", "closest.webp"


def write_reports(results: Results, folder: Path, target: Path | None = None) -> None:
    """Render every report of the results in ``folder`` into it, or into ``target``."""
    from evaluation.report import page, plots, sheets
    from evaluation.report.rendering import render_template
    from evaluation.report.view_model import build_view

    view, target = build_view(results, folder), target or folder
    images = {OVERVIEW: sheets.overview(view), **{sheets.grid_name(row): sheets.grid(view, row) for row in view.rows}}
    if view.closest:
        images[CLOSEST] = sheets.closest(view)
    for name, image in images.items():
        with atomic_file(target / name) as path:
            image.save(path, format="webp", quality=88, method=6)
    write_text(target / CURVES, plots.plot_all(view))
    write_text(target / MARKDOWN, render_template("report.md.j2", view))
    write_text(target / PAGE, page.render_page(view))
