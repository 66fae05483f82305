"""The page in a browser: everything on it works, at any width, in light and dark mode, by keyboard, and in print."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from evaluation.report import write_reports
from tests.evaluation.report.results import write_example

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    write_reports(write_example(tmp_path, failed=True, several=True), tmp_path)
    return (tmp_path / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    page.goto(address)
    yield page
    assert errors == []
    context.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window_and_is_accessible(browser: Browser, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    accessibility = Axe().run(page)
    assert accessibility.violations_count == 0, accessibility.generate_report()
    context.close()


def test_the_verdict_comes_first_and_the_provenance_last(page: Page) -> None:
    assert page.locator("h1").inner_text() == "Recommended: first at scale 0.8"
    assert page.locator("h1").bounding_box()["y"] < 200  # type: ignore[index]
    assert page.locator("h2").first.inner_text() == "Gates"
    assert page.locator("h2").last.inner_text() == "Provenance"


def _source(page: Page, selector: str) -> str:
    return str(page.locator(selector).get_attribute("src"))


def test_another_seed_changes_every_image_of_the_grid(page: Page) -> None:
    first = page.locator("button.tile:visible").evaluate_all("tiles => tiles.map(tile => tile.dataset.seed)")
    page.locator("input[name=seed][value='2']").check()
    second = page.locator("button.tile:visible").evaluate_all("tiles => tiles.map(tile => tile.dataset.seed)")
    assert (set(first), set(second)) == ({"1"}, {"2"})
    # Three prompts at three columns; the last failed and says so instead.
    assert (len(first), len(second)) == (9, 8)
    assert "500 | <oops>" in page.locator("p.tile.failed:visible").inner_text()


def test_the_keyboard_moves_the_slider_through_the_scales(page: Page) -> None:
    slider = page.locator("#closer-scale")
    slider.focus()
    page.keyboard.press("Home")
    base = _source(page, "#stage-a")
    assert page.locator("#closer-scale-label").inner_text() == "base"
    page.keyboard.press("ArrowRight")
    assert page.locator("#closer-scale-label").inner_text() == "first 0.8"
    assert _source(page, "#stage-a") != base


def test_the_wipe_shows_one_image_over_the_other(page: Page) -> None:
    page.locator("input[name=mode][value=wipe]").check()
    assert page.locator("#stage-b").is_visible()
    page.locator("#closer-wipe").fill("25")
    assert page.locator("#stage-b").evaluate("element => element.style.clipPath") == "inset(0px 0px 0px 25%)"
    assert _source(page, "#stage-a") != _source(page, "#stage-b")


def test_the_edge_of_the_wipe_is_dragged_on_the_image(page: Page) -> None:
    page.locator("input[name=mode][value=wipe]").check()
    pane = page.locator("#stage .pane").first
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.up()
    assert page.locator("#closer-wipe").input_value() == "25"


def test_the_wheel_scrolls_the_page_and_zooms_only_with_ctrl(page: Page) -> None:
    page.locator("#stage").scroll_into_view_if_needed()
    page.locator("#stage").hover()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, -200)
    page.wait_for_function("before => scrollY < before", arg=before)
    assert page.locator("#closer-zoom").input_value() == "1"
    page.locator("#stage").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function("document.getElementById('closer-zoom').value > 1")


def test_zoom_and_position_are_the_same_in_both_images(page: Page) -> None:
    page.locator("input[name=mode][value=side]").check()
    stage = page.locator("#stage")
    stage.focus()
    for key in ("+", "+", "ArrowRight"):
        page.keyboard.press(key)
    script = "element => getComputedStyle(element).transform"
    transforms = [page.locator(selector).evaluate(script) for selector in ("#stage-a", "#stage-c")]
    assert transforms[0] == transforms[1] != "none"
    assert page.locator("#stage-c").is_visible()
    page.keyboard.press("0")
    assert page.locator("#closer-zoom").input_value() == "1"


def test_a_click_opens_an_image_of_the_grid_in_the_closer_view(page: Page) -> None:
    tile = page.locator("button.tile:visible").nth(5)
    tile.click()
    assert _source(page, "#stage-a") == tile.locator("img").get_attribute("src")
    assert page.evaluate("document.activeElement.id") == "stage"


def test_votes_are_blind_counted_stored_and_exported(page: Page) -> None:
    ballot = page.locator("#ballot")
    assert page.locator("#vote-status").inner_text() == "0 of 4 voted."
    ballot.focus()
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator("#vote-status").inner_text() == "3 of 4 voted."
    assert "dapter" not in str(page.locator("#vote-left").get_attribute("alt"))
    page.reload()
    assert page.locator("#vote-status").inner_text() == "3 of 4 voted."
    with page.expect_download() as download:
        page.locator("#vote-export").click()
    exported = json.loads(Path(download.value.path()).read_text())
    assert (exported["run"], exported["scale"], exported["adapter_sha256"]) == ("demo", "first 0.8", "a" * 64)
    assert len(exported["votes"]) == 3
    assert sum(exported["tally"].values()) == 3
    assert exported["tally"]["neither"] == 1
    for vote in exported["votes"][:2]:
        pressed = "left" if vote is exported["votes"][0] else "right"
        assert vote["choice"] == ("adapter" if vote["adapter_side"] == pressed else "base")
    page.locator("#vote-again").click()
    assert page.locator("#vote-status").inner_text() == "0 of 4 voted."


def test_in_print_there_are_images_but_no_controls(page: Page) -> None:
    page.emulate_media(media="print")
    assert not page.locator("#vote").is_visible()
    assert not page.locator("#closer").is_visible()
    assert page.locator("button.tile:visible").count() == 9
    assert page.locator(".curves svg").first.is_visible()


def test_without_javascript_the_images_are_visible(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator(".grid .cell:first-of-type img").first.is_visible()
    context.close()
