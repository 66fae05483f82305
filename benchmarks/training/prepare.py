"""``make bench_prepare``: time and memory to prepare images of 12 megapixels."""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from foundation.errors import DONE, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info
from miniature.drawing import draw
from miniature.training_images import draw_example
from training import prepare_dataset

OUT = Path("outputs/bench/prepare.json")
WIDTH, HEIGHT = 4000, 3000


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write ``outputs/bench/prepare.json`` and return exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.prepare", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="number of images (default: 1000)")
    count: int = parser.parse_args(argv).images
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        (Path(folder) / "concept.yaml").write_text("trigger: zbadge\n", encoding="utf-8")
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(tqdm(pool.map(partial(_write_example, raw), range(count), chunksize=8), desc="draw", total=count))
        raw_bytes = sum(path.stat().st_size for path in raw.iterdir())
        seconds = _prepare(Path(folder))
        seconds_for_half = _prepare_half(Path(folder), count)
    figures = {
        "images": count,
        "megapixels": WIDTH * HEIGHT / 1e6,
        "raw_bytes": raw_bytes,
        "seconds": seconds,
        "seconds_for_half": seconds_for_half,
        "images_per_second": count / seconds,
        # Of this process, and of its largest worker.
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_worker_rss_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "platform": platform_info(),
        "packages": package_versions(),
    }
    write_json(OUT, figures)
    print(f"{count} images in {seconds:.0f} s, {count / seconds:.1f} images/s")
    print(OUT)
    return DONE


def _write_example(raw: Path, index: int) -> None:
    """Write a scene of the miniature's world at twelve megapixels, as a camera would, with its caption."""
    image = Image.fromarray(draw(draw_example(0, index).scene)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image.save(raw / f"{index:05d}.jpg", quality=90)
    (raw / f"{index:05d}.txt").write_text(f"a zbadge, image {index}\n", encoding="utf-8")


def _prepare(folder: Path) -> float:
    started = time.perf_counter()
    code = prepare_dataset.main(["--dataset", str(folder), "--set", "resolution=1024", "--force"])
    assert code == DONE, code
    return time.perf_counter() - started


def _prepare_half(folder: Path, count: int) -> float:
    """Prepare every second image, which shows whether time is proportional to the number of images."""
    for index in range(0, count, 2):
        for suffix in (".jpg", ".txt"):
            (folder / "raw" / f"{index:05d}{suffix}").unlink()
    return _prepare(folder)


if __name__ == "__main__":
    sys.exit(main())
