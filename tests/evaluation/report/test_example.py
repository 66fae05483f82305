"""The example report in the documentation is up to date with this version of the program."""

import re

from evaluation.protocol.plan import VERSION
from evaluation.report.rendering import render_template
from evaluation.report.view_model import build_view
from evaluation.results import read_results
from tests.conftest import ROOT

EXAMPLE = ROOT / "docs" / "example-report"


def test_it_is_rendered_from_its_results_and_every_linked_file_exists() -> None:
    results = read_results(EXAMPLE)
    text = (EXAMPLE / "report.md").read_text(encoding="utf-8")
    assert render_template("report.md.j2", build_view(results, EXAMPLE)) == text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 24
    assert all((EXAMPLE / link).is_file() for link in links)


def test_it_is_a_recommendation_by_the_current_protocol() -> None:
    results = read_results(EXAMPLE)
    assert results.protocol_version == VERSION
    assert results.verdict.outcome == "recommended"
    assert results.generated == results.requested >= 12 * 4 * 4
