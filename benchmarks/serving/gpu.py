"""``make bench_gpu``, second part: images of full-size SDXL with random weights, by plain diffusers and by this server."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.served import Client, server
from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions
from foundation.offline import stay_offline
from zthumb import families
from zthumb.memory import room

if TYPE_CHECKING:
    from zthumb.families.base import Family

OUT = Path("outputs/bench/gpu_serve.json")
PROMPT = "a photo of a red star on a blue background"
_WORDS = Path("models/mini-sdxl")
"""Where tokenizers and a scheduler come from: what they say matters nothing to the time that random weights take."""
_SETTINGS = {"ZTHUMB_PRECISION": "bf16", "ZTHUMB_COMPILE": "true", "ZTHUMB_CHANNELS_LAST": "true", "ZTHUMB_TOGETHER": "8"}


@dataclass(frozen=True)
class Row:
    """Images a second and the most bytes on the device, by ``what``."""

    what: str
    images_per_second: float
    peak_bytes: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/gpu_serve.json``; exit code 0 done, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default: {OUT})")
    arguments = parser.parse_args(argv)
    stay_offline()
    import torch

    if not torch.cuda.is_available():
        raise BadInput("no NVIDIA GPU is here. `make bench_serve` measures on the CPU.")
    family = families.get("sdxl")
    rows = measure(family, family.reference, size=1024, steps=30, images=8, rounds=3, settings=_SETTINGS)
    write_json(
        arguments.out,
        {"device": torch.cuda.get_device_name(), "rows": [asdict(row) for row in rows], "packages": package_versions()},
    )
    for row in rows:
        print(f"{row.what:24}{row.images_per_second:.3f} images/s, {row.peak_bytes / 2**30:.1f} GiB")
    print(arguments.out)
    return DONE


def measure(family: Family, shape: Path, size: int, steps: int, images: int, rounds: int, settings: dict[str, str]) -> list[Row]:
    """Both, of a base of the ``shape`` in a folder: ``images`` of ``size`` pixels in ``steps``, ``rounds`` times after one."""
    import torch

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "random"
        write_base(family, shape, base)
        plain = _plain(base, size, steps, images, rounds)
        # The card is for one of both at a time.
        gc.collect()
        torch.cuda.empty_cache()
        served = _served(base, Path(name) / "models", size, steps, images, rounds, settings)
    return [plain, served]


def write_base(family: Family, shape: Path, folder: Path) -> None:
    """A base of random weights with the configuration in ``shape``, in bf16."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    torch.manual_seed(0)
    names = [*family.adapted_components, *family.image_components]
    parts = {name: family.build_component(name, family.configuration(shape, name)).to(torch.bfloat16) for name in names}
    words = {name: CLIPTokenizer.from_pretrained(_WORDS / name, local_files_only=True) for name in ("tokenizer", "tokenizer_2")}
    scheduler = EulerDiscreteScheduler.from_pretrained(_WORDS / "scheduler")
    StableDiffusionXLPipeline(**parts, **words, scheduler=scheduler, add_watermarker=False).save_pretrained(folder)


def _plain(base: Path, size: int, steps: int, images: int, rounds: int) -> Row:
    """As the diffusers documentation has it: one image after the other."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded: Any = StableDiffusionXLPipeline.from_pretrained(base, dtype=torch.bfloat16, local_files_only=True).to(device)
    loaded.set_progress_bar_config(disable=True)

    def generate() -> None:
        for seed in range(images):
            generator = torch.Generator().manual_seed(seed)
            loaded(PROMPT, width=size, height=size, num_inference_steps=steps, generator=generator)

    generate()
    return Row("plain diffusers", round(images / _seconds(generate, rounds), 3), room.peak(device))


def _served(base: Path, models: Path, size: int, steps: int, images: int, rounds: int, settings: dict[str, str]) -> Row:
    """As many clients at once as images."""
    models.mkdir()
    asked = {"prompt": PROMPT, "width": size, "height": size, "steps": steps}
    with server(base, models, settings) as served, ThreadPoolExecutor(images) as pool:
        clients = [Client(served.address) for _ in range(images)]

        def generate() -> float:
            answers = pool.map(lambda pair: pair[1].answer(seed=pair[0], **asked), enumerate(clients))
            return max(float(answer["meta"]["peak_memory_mb"]) for answer in answers)

        # Twice: the first one alone and then all together, each of which is compiled.
        generate()
        generate()
        seconds = _seconds(generate, rounds)
        peak = generate()
    return Row("this server", round(images / seconds, 3), round(peak * 2**20))


def _seconds(work: Any, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    sys.exit(main())
