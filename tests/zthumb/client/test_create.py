"""Create, in a browser against a real server: from a prompt to an image, refused, cancelled, reloaded, recovered."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.zthumb.client.conftest import Server

pytestmark = pytest.mark.slow

PROMPT = "a photo of a large red star on a blue background"
LONG = {"prompt": "a photo of a ring", "steps": 150, "batch": 8, "seed": 1}


def _generate(page: Page, prompt: str = PROMPT) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()


def _first_job(server: Server) -> dict[str, object]:
    job: dict[str, object] = requests.get(f"{server.address}/jobs", params={"limit": 1}, timeout=10).json()["jobs"][0]
    return job


def test_a_prompt_becomes_an_image_with_all_its_parameters(page: Page) -> None:
    _generate(page)
    page.get_by_role("article", name=re.compile(f"^done: {PROMPT}")).first.wait_for(timeout=240_000)
    page.get_by_role("button", name=f"Show the image of: {PROMPT}").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("euler")).to_be_visible()
    # What it was made with becomes the form, its seed included.
    dialog.get_by_role("button", name="Use these").click()
    assert page.get_by_label("Seed", exact=True).input_value().isdecimal()


def test_the_whole_form_is_in_the_address(page: Page, server: Server) -> None:
    page.get_by_label("Prompt", exact=True).fill("a red star")
    page.get_by_role("textbox", name="Steps").fill("12")
    page.get_by_role("textbox", name="Steps").press("Tab")
    page.get_by_label("Seed", exact=True).fill("9223372036854775807")
    page.get_by_role("button", name="Add strong").click()
    page.wait_for_url(re.compile("strong"))
    # When it is opened in another tab
    other = page.context.new_page()
    other.goto(page.url)
    # Then all of it is there
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("a red star")
    expect(other.get_by_role("textbox", name="Steps")).to_have_value("12")
    expect(other.get_by_label("Seed", exact=True)).to_have_value("9223372036854775807")
    expect(other.get_by_role("button", name="Remove strong")).to_be_visible()
    other.get_by_role("button", name="Generate", exact=True).click()
    other.get_by_role("article", name="done: a red star", exact=True).first.wait_for(timeout=240_000)
    request = _first_job(server)["request"]
    assert isinstance(request, dict)
    assert (request["seed"], request["steps"]) == ("9223372036854775807", 12)
    assert request["loras"][0]["id"] == "strong"


def test_a_preset_says_what_it_is_of_and_which_settings_are_used_where_none_are_given(page: Page) -> None:
    steps = page.get_by_role("textbox", name="Steps")
    expect(steps).to_have_attribute("placeholder", "25")
    page.get_by_role("button", name="Base and preset").click()
    page.get_by_role("option", name="mini-fast").click()
    expect(page.get_by_text("the miniature base in four steps. Base: mini-sdxl.")).to_be_visible()
    expect(steps).to_have_attribute("placeholder", "4")
    # Of a base that is not on this machine it is said that it will be downloaded.
    page.get_by_role("button", name="Base and preset").click()
    page.get_by_role("option", name="flux-dev").click()
    expect(page.get_by_text("not on this machine yet")).to_be_visible()
    expect(page.get_by_role("textbox", name="Width")).to_have_attribute("placeholder", "1024")


def test_a_long_job_shows_how_far_it_is_and_is_cancelled(page: Page, server: Server) -> None:
    requests.post(f"{server.address}/jobs", json=LONG, timeout=10)
    job = page.get_by_role("article", name=re.compile("^generating")).first
    job.get_by_role("progressbar").wait_for(timeout=240_000)
    job.locator("img").wait_for(timeout=240_000)
    job.get_by_role("button", name="Cancel").click()
    page.get_by_role("article", name=re.compile("^cancelled: a photo of a ring")).first.wait_for(timeout=240_000)
    assert _first_job(server)["state"] == "cancelled"


def test_what_is_refused_is_said_beside_its_field(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/?prompt=x&steps=400")
    page.get_by_role("button", name="Generate", exact=True).click()
    field = page.locator(".field").filter(has_text="Steps").first
    expect(field.locator(".react-aria-FieldError")).to_contain_text("150", timeout=10_000)


def test_a_page_that_is_reloaded_in_the_middle_goes_on(page: Page, server: Server) -> None:
    job = requests.post(f"{server.address}/jobs", json={**LONG, "batch": 1}, timeout=10).json()["id"]
    page.get_by_role("progressbar").first.wait_for(timeout=240_000)
    page.reload()
    page.get_by_role("progressbar").first.wait_for(timeout=240_000)
    # The very job, which was not begun again.
    assert (_first_job(server)["id"], _first_job(server)["state"]) == (job, "running")
    requests.delete(f"{server.address}/jobs/{job}", timeout=10)


def test_a_server_that_is_killed_in_the_middle_loses_nothing(page: Page, server: Server) -> None:
    _generate(page, "a photo of a green ring")
    requests.post(f"{server.address}/jobs", json={**LONG, "batch": 1, "prompt": "a yellow cross"}, timeout=10)
    page.get_by_role("article", name=re.compile("yellow cross")).first.wait_for(timeout=240_000)
    # When it is killed, the page says so
    server.kill()
    expect(page.get_by_role("status")).to_contain_text("cannot be reached", timeout=20_000)
    # And when it is there again, the job goes on and the page with it
    server.start()
    expect(page.get_by_role("status")).to_have_count(0, timeout=240_000)
    page.get_by_role("article", name=re.compile("^done: a yellow cross")).first.wait_for(timeout=90_000)


def test_it_is_used_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    for _ in range(12):
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("a white square")
    page.keyboard.press("Control+Enter")
    page.get_by_role("article", name=re.compile("^done: a white square")).first.wait_for(timeout=240_000)
    assert parse_qs(urlsplit(page.url).query)["prompt"] == ["a white square"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_fits_and_is_accessible(browser: Browser, server: Server, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(server.address)
    for title in ("Create", "Compare", "Gallery", "Library", "System"):
        page.get_by_role("link", name=title, exact=True).click()
        page.get_by_role("heading", name=title, level=1).wait_for()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, title
        accessibility = Axe().run(page)
        assert accessibility.violations_count == 0, accessibility.generate_report()
    context.close()


def test_the_page_of_the_api_works_without_another_host(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/docs")
    operations = page.get_by_text("POST", exact=True)
    operations.first.wait_for(timeout=20_000)
    assert operations.count() > 5


def test_an_images_file_becomes_the_form_it_was_made_with(page: Page, server: Server, tmp_path: Path) -> None:
    # Given the file of an image with an adapter and a large seed
    request = {"prompt": "a small red star", "steps": 3, "seed": 2**62 + 1, "loras": [{"id": "strong", "weight": 0.7}]}
    image = requests.post(f"{server.address}/generate", json=request, timeout=240).json()["images"][0]["b64_json"]
    file = tmp_path / "image.png"
    file.write_bytes(base64.b64decode(image))
    # When it is given to the page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Read a file…").click()
    chooser.value.set_files(file)
    # Then the form is what it was made with, to the last digit of the seed, and the adapter is found by its hash
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(2**62 + 1))
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a small red star")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_role("article", name="done: a small red star", exact=True).first.wait_for(timeout=240_000)
    again = _first_job(server)
    assert isinstance(again["images"], list)
    stored = requests.get(f"{server.address}{again['images'][0]['path']}", timeout=10).content
    assert stored == file.read_bytes()


def test_a_server_with_an_open_page_shuts_down_at_once(
    start_server: Callable[..., Server], models: Path, browser: Browser
) -> None:
    # Given a server that a page follows
    server = start_server(models)
    page = browser.new_page()
    page.goto(server.address)
    page.get_by_label("Prompt", exact=True).wait_for()
    page.wait_for_timeout(1000)
    # When it is asked to end, the stream does not keep it
    assert server.stop(timeout=20) == 0
    page.close()


def test_a_server_that_does_not_train_says_how_it_would(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/train")
    expect(page.get_by_text("ZTHUMB_TRAINING=.")).to_be_visible()


def test_the_weights_that_a_prompt_is_read_with_are_shown_while_it_is_typed(page: Page) -> None:
    page.get_by_role("button", name="Prompt syntax").click()
    page.get_by_role("option", name="lpw").click()
    page.get_by_label("Prompt", exact=True).fill("a (red:1.3) star")
    expect(page.get_by_text("read by lpw")).to_be_visible()
    expect(page.locator("sup")).to_have_text("1.3")
    # What is wrong is said with its place, before anything is generated.
    page.get_by_label("Prompt", exact=True).fill("a (red:1.2.3) star")
    expect(page.get_by_text("at character 8: '1.2.3' is not a weight")).to_be_visible()


def test_an_adapters_file_is_added_and_chosen(page: Page, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "dropped.safetensors"
    file.write_bytes((models / "lora" / "strong" / "strong.safetensors").read_bytes())
    page.locator("input[type=file]").set_input_files(str(file))
    expect(page.get_by_role("button", name="Remove dropped")).to_be_visible(timeout=240_000)
    page.locator("input[type=file]").set_input_files(
        {"name": "broken.safetensors", "mimeType": "application/octet-stream", "buffer": b"nothing"}
    )
    expect(page.get_by_role("alert")).to_contain_text("broken.safetensors")
