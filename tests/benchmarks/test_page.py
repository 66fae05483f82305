"""The benchmarks page is rendered from the committed measurements."""

from pathlib import Path

from benchmarks.page import render_page
from tests.conftest import ROOT


def test_the_committed_page_is_rendered_from_the_committed_measurements() -> None:
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == render_page(ROOT / "docs" / "benchmarks")


def test_a_section_without_figures_says_that_it_was_not_measured(tmp_path: Path) -> None:
    assert render_page(tmp_path).count("not measured") == 8 * 4 + 2 * 2
    assert render_page(tmp_path).count("Not measured.") == 10
