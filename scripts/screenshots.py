"""Take screenshots of a page at three widths, for the documentation: ``python scripts/screenshots.py REPORT.html FOLDER``."""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS = {1280: ("light", 2000), 768: ("dark", 1500), 360: ("light", 1500)}
"""Width → (colour scheme, height), in pixels."""


def main(html: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        for width, (scheme, height) in WIDTHS.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(html.resolve().as_uri())
            screenshot = folder / f"{width}.png"
            page.screenshot(path=screenshot)
            with Image.open(screenshot) as image:
                image.convert("RGB").save(screenshot.with_suffix(".webp"), quality=80, method=6)
            screenshot.unlink()
            context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
