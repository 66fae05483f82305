"""The reports, pure functions of the results and the images: rendered twice they are the same bytes."""

from pathlib import Path

from evaluation.results import Results
from foundation.files import atomic_file, write_text

MARKDOWN, PAGE = "report.md", "report.html"
OVERVIEW, CURVES, CLOSEST = "overview.webp", "curves.svg", "closest.webp"


def write(results: Results, folder: Path, target: Path | None = None) -> None:
    """Render every report of the results in ``folder`` into it, or into ``target``."""
    from evaluation.report import page, plots, sheets
    from evaluation.report.rendering import render
    from evaluation.report.view_model import show

    shown, target = show(results, folder), target or folder
    drawn = {OVERVIEW: sheets.overview(shown), **{sheets.grid_name(row): sheets.grid(shown, row) for row in shown.rows}}
    if shown.closest:
        drawn[CLOSEST] = sheets.closest(shown)
    for name, sheet in drawn.items():
        with atomic_file(target / name) as path:
            sheet.save(path, format="webp", quality=88, method=6)
    write_text(target / CURVES, plots.sheet(shown))
    write_text(target / MARKDOWN, render("report.md.j2", shown))
    write_text(target / PAGE, page.render_page(shown))
