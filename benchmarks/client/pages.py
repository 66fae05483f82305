"""``make bench_client``: how long the web client's pages take to appear, with ten thousand images in the gallery."""

import argparse
import gzip
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.client.filled_gallery import fill
from benchmarks.serving.server_process import run_server
from foundation.errors import DONE, StageFailed, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info

OUT = Path("outputs/bench/pages.json")
IMAGES = 10_000
PAGES = {
    "Compare": "form[aria-label='What to compare']",
    "Train": "main section",
    "Gallery": "[role=grid] img",
    "Library": "#adapters",
    "System": "#base",
    "Create": "form[aria-label='What to generate']",
}
"""The pages in the order in which they are opened, and what is on each once it is there."""

_DIST = Path("zthumb/client/dist")
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
_SWITCH = """async ([title, marker]) => {
  const link = [...document.querySelectorAll("nav a")].find((each) => each.textContent === title);
  const start = performance.now();
  link.click();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  while (!document.querySelector(marker)) await frame();
  // The frame after the one in which it is put on the page has painted it.
  await frame();
  return performance.now() - start;
}"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/pages.json``; exit code 0 done, 1 without a browser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client.pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="number of rounds; figures are medians (default: 9)")
    arguments = parser.parse_args(argv)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise StageFailed("there is no Chromium here; install Debian's package chromium.")
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name) / "data", IMAGES, lambda index: f"a star number {index}")
        (Path(name) / "models").mkdir()
        with run_server(Path("models/mini-sdxl"), Path(name) / "models") as server:
            figures = _measure(server.address, chromium, arguments.rounds)
    figures |= {"images": IMAGES, "rounds": arguments.rounds, "first_load_bytes": first_load_bytes()}
    write_json(OUT, {**figures, "platform": platform_info(), "packages": package_versions()})
    print(f"first paint {figures['first_paint_ms']:.0f} ms, first load {figures['first_load_bytes'] / 1000:.0f} kB")
    for row in figures["rows"]:
        print(f"{row['page']:8} first {row['first_ms']:6.0f} ms, again {row['again_ms']:6.0f} ms")
    print(OUT)
    return DONE


def first_load_bytes(dist: Path = _DIST) -> int:
    """Return the compressed size of all that the first page loads."""
    files = re.findall(r"assets/[^\"]+", (dist / "index.html").read_text(encoding="utf-8"))
    return sum(len(gzip.compress((dist / file).read_bytes(), mtime=0)) for file in files)


def _measure(address: str, chromium: str, rounds: int) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    paints, first, again = list[float](), {page: list[float]() for page in PAGES}, {page: list[float]() for page in PAGES}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in tqdm(range(rounds), desc="bench", unit="round"):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector(PAGES["Create"])
            paints.append(float(page.evaluate(_PAINT)))
            for times in (first, again):
                for title, marker in PAGES.items():
                    times[title].append(float(page.evaluate(_SWITCH, [title, marker])))
            context.close()
        browser.close()
    rows = [
        {"page": page, "first_ms": statistics.median(first[page]), "again_ms": statistics.median(again[page])} for page in PAGES
    ]
    return {"first_paint_ms": statistics.median(paints), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
