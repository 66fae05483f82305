"""The page of figures is made of the measurements beside it."""

from pathlib import Path

from benchmarks.page import page
from tests.conftest import ROOT


def test_the_committed_page_is_what_the_committed_measurements_say() -> None:
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page(ROOT / "docs" / "benchmarks")


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    assert page(tmp_path).count("not measured") == 8 * 4 + 2 * 2
    assert page(tmp_path).count("Not measured.") == 6
