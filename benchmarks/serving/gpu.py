"""``make bench_gpu``, second part: images of full-size SDXL with random weights, from plain diffusers and from this server."""

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

from benchmarks.serving.server_process import Client, run_server
from foundation.device import peak_bytes
from foundation.errors import DONE, BadInput, command
from foundation.files import write_json
from foundation.manifest import package_versions
from foundation.offline import stay_offline
from zthumb import families

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily

OUT = Path("outputs/bench/gpu_serve.json")
PROMPT = "a photo of a red star on a blue background"
_TOKENIZER_BASE = Path("models/mini-sdxl")
"""The base whose tokenizers and scheduler are used: their content does not affect the time that random weights take."""
_SETTINGS = {"ZTHUMB_PRECISION": "bf16", "ZTHUMB_COMPILE": "true", "ZTHUMB_CHANNELS_LAST": "true", "ZTHUMB_BATCH_SIZE": "8"}


@dataclass(frozen=True)
class Row:
    """Images per second and peak bytes on the device of the program named ``what``."""

    what: str
    images_per_second: float
    peak_bytes: int


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/gpu_serve.json``; exit code 0 done, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help=f"file for the figures (default: {OUT})")
    arguments = parser.parse_args(argv)
    stay_offline()
    import torch

    if not torch.cuda.is_available():
        raise BadInput("this machine has no NVIDIA GPU. `make bench_serve` measures on the CPU.")
    family = families.get("sdxl")
    rows = measure(family, family.references[0], size=1024, steps=30, images=8, rounds=3, settings=_SETTINGS)
    write_json(
        arguments.out,
        {"device": torch.cuda.get_device_name(), "rows": [asdict(row) for row in rows], "packages": package_versions()},
    )
    for row in rows:
        print(f"{row.what:24}{row.images_per_second:.3f} images/s, {row.peak_bytes / 2**30:.1f} GiB")
    print(arguments.out)
    return DONE


def measure(
    family: ModelFamily, configuration: Path, size: int, steps: int, images: int, rounds: int, settings: dict[str, str]
) -> list[Row]:
    """Measure both programs with a base of the ``configuration`` in a folder.

    Each generates ``images`` of ``size`` pixels in ``steps`` steps, once to warm up and then ``rounds`` times.
    """
    import torch

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "random"
        write_base(family, configuration, base)
        plain = _measure_diffusers(base, size, steps, images, rounds)
        # Only one of the two fits on the GPU at a time.
        gc.collect()
        torch.cuda.empty_cache()
        server = _measure_server(base, Path(name) / "models", size, steps, images, rounds, settings)
    return [plain, server]


def write_base(family: ModelFamily, configuration: Path, folder: Path) -> None:
    """Write a base of random weights in bf16, with the configuration in the folder ``configuration``."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    torch.manual_seed(0)
    names = [*family.adapted_components, *family.image_components]
    components = {
        name: family.build_component(name, family.configuration(configuration, name)).to(torch.bfloat16) for name in names
    }
    tokenizers = {
        name: CLIPTokenizer.from_pretrained(_TOKENIZER_BASE / name, local_files_only=True)
        for name in ("tokenizer", "tokenizer_2")
    }
    scheduler = EulerDiscreteScheduler.from_pretrained(_TOKENIZER_BASE / "scheduler")
    StableDiffusionXLPipeline(**components, **tokenizers, scheduler=scheduler, add_watermarker=False).save_pretrained(folder)


def _measure_diffusers(base: Path, size: int, steps: int, images: int, rounds: int) -> Row:
    """Generate one image after the other, as in the diffusers documentation."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(base, dtype=torch.bfloat16, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)

    def generate() -> None:
        for seed in range(images):
            generator = torch.Generator().manual_seed(seed)
            pipeline(PROMPT, width=size, height=size, num_inference_steps=steps, generator=generator)

    generate()
    return Row("plain diffusers", round(images / _seconds(generate, rounds), 3), peak_bytes(device))


def _measure_server(base: Path, models: Path, size: int, steps: int, images: int, rounds: int, settings: dict[str, str]) -> Row:
    """Generate all images at once, one client for each."""
    models.mkdir()
    request = {"prompt": PROMPT, "width": size, "height": size, "steps": steps}
    with run_server(base, models, settings) as server, ThreadPoolExecutor(images) as pool:
        clients = [Client(server.address) for _ in range(images)]

        def generate() -> float:
            responses = pool.map(lambda pair: pair[1].generate(seed=pair[0], **request), enumerate(clients))
            return max(float(response["meta"]["peak_memory_mb"]) for response in responses)

        # Twice: the first request runs alone and the others as a batch, and each batch size is compiled.
        generate()
        generate()
        seconds = _seconds(generate, rounds)
        peak = generate()
    return Row("this server", round(images / seconds, 3), round(peak * 2**20))


def _seconds(run: Any, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    sys.exit(main())
