"""Take images of a page at three widths, for the documentation: ``python scripts/screenshots.py REPORT.html FOLDER``."""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS = {1280: ("light", 2000), 768: ("dark", 1500), 360: ("light", 1500)}
"""Width in pixels → colour scheme and the height that is kept."""


def main(page: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        for width, (scheme, height) in WIDTHS.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            opened = context.new_page()
            opened.goto(page.resolve().as_uri())
            taken = folder / f"{width}.png"
            opened.screenshot(path=taken)
            with Image.open(taken) as image:
                image.convert("RGB").save(taken.with_suffix(".webp"), quality=80, method=6)
            taken.unlink()
            context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
