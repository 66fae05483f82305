"""Train, in a browser against a real server: from uploaded images to a verdict, reloaded on the way."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.checkouts import PROMPTS, TINY_CHANGES, copy_checkout
from tests.conftest import MINIATURE, ROOT
from tests.zthumb.client.conftest import Server

pytestmark = pytest.mark.slow

IMAGES = sorted((ROOT / "datasets" / "z" / "raw").glob("*.png"))[:6]
SHORT = quote(json.dumps(TINY_CHANGES))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models: Path, start_server: Callable[..., Server]) -> Server:
    """A server that trains in a copy of the project, whose evaluation takes seconds."""
    checkout = copy_checkout(tmp_path_factory.mktemp("project"), MINIATURE)
    (checkout / "evaluation" / "prompts" / "mini.yaml").write_text(PROMPTS)
    return start_server(models, ZTHUMB_TRAINING=str(checkout), ZTHUMB_MODELS_FOLDER=str(checkout / "models"))


def _create(page: Page, server: Server, name: str) -> None:
    page.goto(f"{server.address}/train?changes={SHORT}")
    page.get_by_label("New data set", exact=True).fill(name)
    page.get_by_label("Trigger word").fill("zbadge")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_text("No images yet")).to_be_visible()


def _violations(page: Page) -> list[tuple[str, str]]:
    found = Axe().run(page).response["violations"]
    return [(violation["id"], node["html"]) for violation in found for node in violation["nodes"]]


def _upload(page: Page, *files: str | FilePayload) -> None:
    page.locator("input[type=file]").set_input_files(list(files))  # type: ignore[arg-type]


def test_images_become_an_adapter_with_a_verdict(page: Page, server: Server) -> None:
    _create(page, server, "mine")
    # Images come with their captions, as files of the same name; what is no image is refused by its name.
    captions = [path.with_suffix(".txt") for path in IMAGES]
    broken = FilePayload(name="broken.png", mimeType="image/png", buffer=b"nothing")
    _upload(page, *[str(path) for path in IMAGES])
    expect(page.get_by_label("Caption of zbadge_01.png")).to_have_value("", timeout=240_000)
    _upload(page, *[str(path) for path in captions])
    expect(page.get_by_label("Caption of zbadge_01.png")).to_have_value(captions[0].read_text().strip(), timeout=240_000)
    # Going through the captions changes none.
    page.get_by_label("Caption of zbadge_01.png").focus()
    page.keyboard.press("Tab")
    page.reload()
    expect(page.get_by_label("Caption of zbadge_01.png")).to_have_value(captions[0].read_text().strip())
    _upload(page, broken)
    expect(page.get_by_role("alert")).to_contain_text("broken.png: not an image")
    # When they are checked
    page.get_by_role("button", name="Check the images").click()
    expect(page.get_by_text("6 images, trigger 'zbadge' in 6 captions")).to_be_visible(timeout=240_000)
    # And the training is started, and the page reloaded meanwhile
    page.get_by_role("button", name="Train and evaluate").click()
    page.wait_for_url(re.compile("run=mine-mini-1"))
    page.reload()
    expect(page.get_by_role("heading", name="mine-mini-1")).to_be_visible(timeout=240_000)
    # Then it comes to a verdict, with all that led to it
    expect(page.get_by_text(re.compile("^inconclusive:")).first).to_be_visible(timeout=400_000)
    expect(page.get_by_role("img", name="Loss on held-out images")).to_be_visible()
    expect(page.get_by_alt_text("Preview 1 of step 4")).to_be_visible()
    expect(page.get_by_text("adapter  models/lora/mine-mini-1/mine-mini-1.safetensors")).to_be_visible()
    for size in ({"width": 360, "height": 800}, {"width": 1440, "height": 900}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert _violations(page) == []
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("heading", name="Report mine-mini-1")).to_be_visible()


def test_an_adapter_is_judged_again_from_the_library_and_two_reports_are_compared(page: Page, server: Server) -> None:
    # Given the adapter of the test before
    page.goto(f"{server.address}/library")
    page.get_by_role("button", name="Evaluate mine-mini-1").click()
    page.get_by_role("button", name="Data set").click()
    page.get_by_role("option", name="mine", exact=True).click()
    page.get_by_role("button", name="Prompts of the evaluation").click()
    page.get_by_role("option", name="mini", exact=True).click()
    page.get_by_label("Name of the report").fill("again")
    page.get_by_role("dialog").get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_role("heading", name="again")).to_be_visible(timeout=240_000)
    state = page.get_by_role("region", name="State")
    expect(state.get_by_text(re.compile("^inconclusive:"))).to_be_visible(timeout=400_000)
    # When both are chosen
    page.goto(f"{server.address}/library")
    for run in ("again", "mine-mini-1"):
        page.get_by_role("checkbox", name=f"Compare {run}").check(force=True)
    # Then they are compared, or it is said why they cannot be
    expect(page.get_by_role("alert")).to_contain_text("share fewer than two prompts", timeout=240_000)
    for size in ({"width": 360, "height": 800}, {"width": 1440, "height": 900}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert _violations(page) == []


def test_an_image_is_captioned_and_cropped_in_the_page(page: Page, server: Server) -> None:
    _create(page, server, "parts")
    _upload(page, str(IMAGES[0]))
    caption = page.get_by_label(f"Caption of {IMAGES[0].name}")
    caption.fill("a photo of a zbadge")
    caption.blur()
    # When a part of it is drawn over and made a square
    page.get_by_role("button", name=f"Crop {IMAGES[0].name}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Width")).to_be_visible(timeout=240_000)
    shown = dialog.get_by_role("img").bounding_box()
    assert shown is not None
    page.mouse.move(shown["x"] + shown["width"] * 0.25, shown["y"] + shown["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(shown["x"] + shown["width"] * 0.75, shown["y"] + shown["height"] * 0.9, steps=4)
    page.mouse.up()
    dialog.get_by_role("button", name="Square").click()
    dialog.get_by_role("button", name="Crop", exact=True).click()
    expect(page.get_by_text("cropped", exact=True)).to_be_visible()
    # Then it is that part, and has its caption
    answer = requests.get(f"{server.address}/datasets/parts/images/{IMAGES[0].name}", timeout=10)
    width, height = Image.open(io.BytesIO(answer.content)).size
    assert width == height == Image.open(IMAGES[0]).width // 2
    images = requests.get(f"{server.address}/datasets/parts", timeout=10).json()["images"]
    assert images[0]["caption"] == "a photo of a zbadge"
    # And the whole of it comes back
    page.get_by_role("button", name=f"Crop {IMAGES[0].name}").click()
    page.get_by_role("button", name="Put the whole image back").click()
    expect(page.get_by_text("cropped", exact=True)).to_be_hidden()


def test_a_recipe_is_changed_key_by_key_and_the_address_has_the_changes(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/train")
    rank = page.get_by_label("adapter.rank").first
    rank.fill("8")
    rank.press("Tab")
    page.wait_for_url(re.compile("changes="))
    page.reload()
    expect(page.get_by_label("adapter.rank").first).to_have_value("8")
    page.get_by_role("button", name="What will it need?").click()
    expect(page.get_by_text("at the peak on cpu")).to_be_visible(timeout=240_000)
    # What the training does not take is said in its own words, before there is a run.
    both = quote(json.dumps({"adapter": {"initialization": "pissa", "use_dora": True}}))
    page.goto(f"{server.address}/train?dataset=z&changes={both}")
    page.get_by_role("button", name="Train and evaluate").click()
    expect(page.get_by_role("alert")).to_contain_text("use_dora and initialization: pissa cannot be combined", timeout=240_000)
    for size in ({"width": 360, "height": 800}, {"width": 1440, "height": 900}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert _violations(page) == []
