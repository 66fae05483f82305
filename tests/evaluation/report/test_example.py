"""The example report in the documentation is one of this program as it is."""

import re

from evaluation.protocol import VERSION
from evaluation.report.rendering import render
from evaluation.report.view_model import show
from evaluation.results import read_results
from tests.conftest import ROOT

EXAMPLE = ROOT / "docs" / "example-report"


def test_it_is_what_its_results_are_rendered_to_and_everything_it_shows_is_there() -> None:
    results = read_results(EXAMPLE)
    text = (EXAMPLE / "report.md").read_text(encoding="utf-8")
    assert render("report.md.j2", show(results, EXAMPLE)) == text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 24
    assert all((EXAMPLE / link).is_file() for link in links)


def test_it_is_a_recommendation_by_the_protocol_of_today() -> None:
    results = read_results(EXAMPLE)
    assert results.protocol_version == VERSION
    assert results.verdict.outcome == "recommended"
    assert results.answered == results.asked >= 12 * 4 * 4
