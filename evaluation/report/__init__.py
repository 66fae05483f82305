"""The reports, pure functions of the results and the pictures: rendered twice they are the same bytes."""

from pathlib import Path

from evaluation.results import Results
from foundation.files import whole_file, write_text

MARKDOWN, PAGE, OVERVIEW, CURVES = "report.md", "report.html", "overview.png", "curves.svg"


def write(results: Results, folder: Path, target: Path | None = None) -> None:
    """Render every report of the results in ``folder`` into it, or into ``target``."""
    from evaluation.report import page, plots, sheets
    from evaluation.report.rendering import render
    from evaluation.report.shown import show

    shown, target = show(results, folder), target or folder
    with whole_file(target / OVERVIEW) as path:
        sheets.overview(shown).save(path, format="png")
    for row in shown.rows:
        with whole_file(target / sheets.grid_name(row)) as path:
            sheets.grid(shown, row).save(path, format="webp", quality=85, method=6)
    write_text(target / CURVES, plots.sheet(shown))
    write_text(target / MARKDOWN, render("report.md.j2", shown))
    write_text(target / PAGE, page.render_page(shown))
