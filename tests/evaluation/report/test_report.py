"""Both reports as text: they are complete, well-formed and reproducible."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation.report import write_reports
from tests.evaluation.report.results import write_example


def _reports(folder: Path, **options: bool) -> tuple[str, str]:
    write_reports(write_example(folder, **options), folder)
    return (folder / "report.md").read_text(encoding="utf-8"), (folder / "report.html").read_text(encoding="utf-8")


def test_rendered_twice_they_are_the_same_bytes(tmp_path: Path) -> None:
    results = write_example(tmp_path)
    for name in ("first", "second"):
        write_reports(results, tmp_path, tmp_path / name)
    files = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert len(files) == 5 + 3
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes() for name in files)


def test_the_markdown_begins_with_the_verdict_and_links_only_to_existing_files(tmp_path: Path) -> None:
    text, _ = _reports(tmp_path)
    assert text.startswith("# demo: recommended at scale 0.8\n")
    links = re.findall(r"!\[(?:\\.|[^\]\\])+\]\(([^)]+)\)", text)
    assert {"overview.webp", "curves.svg", "closest.webp"} <= set(links)
    assert all((tmp_path / link).is_file() for link in links)
    assert sum(link.startswith("grids/") for link in links) == 3
    assert "✓ | Scale 0 equals the base" in text
    assert "smoke check" in text


def test_every_markdown_table_has_the_same_number_of_cells_in_each_row(tmp_path: Path) -> None:
    text, _ = _reports(tmp_path, failed=True)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|[-:| ]*-[-:| ]*\|", line):
            separators = [len(re.findall(r"(?<!\\)\|", lines[number + step])) for step in (-1, 0, 1)]
            assert len(set(separators)) == 1, lines[number - 1 : number + 2]


def test_the_page_loads_nothing_from_other_files_or_the_network(tmp_path: Path) -> None:
    _, page = _reports(tmp_path)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag == "img":
            self.images.append(attributes)
        if tag not in ("img", "meta", "input", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_every_image_has_alt_text(tmp_path: Path) -> None:
    _, page = _reports(tmp_path, failed=True)
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert all(image["alt"] for image in tags.images if not str(image.get("id")).startswith("stage"))
    assert "a &lt;b&gt; &amp; | zbadge" in page
    assert "500 | &lt;oops&gt;" in page


def test_failed_images_are_counted_in_both_reports(tmp_path: Path) -> None:
    for text in _reports(tmp_path, failed=True):
        assert "1 of 12 images failed" in text


def test_a_failed_gate_is_reported_before_any_figure(tmp_path: Path) -> None:
    text, page = _reports(tmp_path, gate_fails=True)
    assert text.startswith("# demo: inconclusive\n")
    assert "✗ | Scale 0 equals the base" in text
    assert page.index("A gate failed: these figures are not valid") < page.index("<table>")


@pytest.mark.parametrize("several", [False, True])
def test_columns_are_labelled_by_scale_and_with_several_adapters_also_by_adapter(tmp_path: Path, several: bool) -> None:
    text, page = _reports(tmp_path, several=several)
    label = "first 0.8" if several else "0.8"
    assert f"| **{label}** |" in text
    assert f'<span class="chosen">{label}</span>' in page
    assert ("second 0.8" in page) is several
