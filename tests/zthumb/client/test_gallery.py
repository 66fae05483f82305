"""The gallery and the library, in a browser against a real server with ten thousand images."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import FilePayload, Page, expect

from benchmarks.client.filled_gallery import fill
from tests.zthumb.client.conftest import Server

pytestmark = pytest.mark.slow

COUNT = 10_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ten thousand images, all of one small file."""
    folder = tmp_path_factory.mktemp("many")
    fill(folder, COUNT, lambda index: "a needle" if index == 5 else f"a star number {index}")
    return folder


@pytest.fixture(scope="module")
def server(models: Path, start_server: Callable[..., Server], data: Path) -> Server:
    return start_server(models, ZTHUMB_DATA_FOLDER=str(data))


def test_ten_thousand_images_are_scrolled_without_holding_them_all(page: Page) -> None:
    page.get_by_role("link", name="Gallery").click()
    grid = page.get_by_role("grid", name="Images")
    grid.get_by_role("img").first.wait_for()
    # Only what is in sight is on the page, however far it is scrolled.
    for _ in range(30):
        grid.evaluate("element => element.scrollTo(0, element.scrollHeight)")
        page.wait_for_timeout(100)
    assert grid.get_by_role("row").count() < 200
    assert grid.evaluate("element => element.scrollHeight") > 5000


def test_one_image_among_them_is_found_and_opened_with_the_keyboard(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/gallery")
    page.get_by_label("Prompt", exact=True).fill("needle")
    grid = page.get_by_role("grid", name="Images")
    expect(grid.get_by_role("img")).to_have_count(1)
    grid.get_by_role("row").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="4 of 5").click()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    # What was rated is found by its rating.
    page.goto(f"{server.address}/gallery?rating=4")
    expect(grid.get_by_role("img")).to_have_count(1)


def test_a_file_of_another_program_shows_what_it_was_generated_with(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/gallery")
    written = PngInfo()
    written.add_text(
        "parameters", "a green ring\nNegative prompt: blur\nSteps: 9, Sampler: Euler, CFG scale: 4, Seed: 9007199254740993"
    )
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(buffer, "png", pnginfo=written)
    files = page.locator("input[type=file]")
    files.set_input_files(FilePayload(name="ring.png", mimeType="image/png", buffer=buffer.getvalue()))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="a green ring")).to_be_visible()
    expect(dialog.get_by_text("written by a1111")).to_be_visible()
    # A seed that numbers of a browser cannot hold is shown to its last digit.
    expect(dialog.get_by_text("9007199254740993")).to_be_visible()
    dialog.get_by_role("button", name="Use these").click()
    expect(page.get_by_label("Negative prompt")).to_have_value("blur")
    # What has none says so.
    page.goto(f"{server.address}/gallery")
    plain = io.BytesIO()
    Image.new("RGB", (64, 64)).save(plain, "png")
    files.set_input_files(FilePayload(name="plain.png", mimeType="image/png", buffer=plain.getvalue()))
    expect(dialog.get_by_role("alert")).to_be_visible()


def test_the_library_says_where_adapters_come_from(page: Page) -> None:
    page.get_by_role("link", name="Library").click()
    page.get_by_label("Name or trigger word").fill("str")
    page.get_by_role("listitem").filter(has_text="strong").get_by_role("link", name="Use it").click()
    expect(page.get_by_role("button", name="Remove strong")).to_be_visible()
