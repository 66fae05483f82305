"""Asking the server for every sample and measuring what comes back."""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from evaluation.client import Client
from evaluation.distances import pixel_distance
from evaluation.protocol import Protocol, Sample
from evaluation.results import IMAGES, SampleResult
from foundation.errors import StageFailed
from foundation.files import whole_file


def collect(client: Client, protocol: Protocol, wanted: Sequence[Sample], lora_path: str, folder: Path) -> Iterator[SampleResult]:
    """Ask for each sample, keep its picture below ``folder`` and yield what was measured.

    A sample that fails is a record and not an exit: the report says how many of how many there are.
    """
    bar = tqdm(total=len(wanted), desc="evaluate", unit="picture")
    for _, group in groupby(wanted, key=lambda sample: (sample.stratum, sample.prompt, sample.seed)):
        base: NDArray[np.uint8] | None = None
        for sample in sorted(group, key=lambda sample: sample.lora_scale != 0):
            result, pixels = _one(client, protocol, sample, lora_path, folder, base)
            base = pixels if sample.lora_scale == 0 else base
            bar.update()
            yield result
    bar.close()


def _one(
    client: Client, protocol: Protocol, sample: Sample, lora_path: str, folder: Path, base: NDArray[np.uint8] | None
) -> tuple[SampleResult, NDArray[np.uint8] | None]:
    asked: dict[str, Any] = {
        "stratum": sample.stratum,
        "prompt": sample.prompt,
        "seed": sample.seed,
        "lora_scale": sample.lora_scale,
    }
    try:
        data, meta = client.generate(_request(protocol, sample, lora_path))
    except StageFailed as error:
        return SampleResult(**asked, status="failed", error=str(error)), None
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    name = f"{IMAGES}/{_name(sample)}"
    with whole_file(folder / name) as temporary:
        temporary.write_bytes(data)
    result = SampleResult(
        **asked,
        status="ok",
        image=name,
        sha256=hashlib.sha256(data).hexdigest(),
        distance=0.0 if sample.lora_scale == 0 else None if base is None else round(pixel_distance(base, pixels), 6),
        adapter_sha256=meta["lora"]["sha256"],
        seconds=meta["timings"]["generate"],
    )
    return result, pixels


def _request(protocol: Protocol, sample: Sample, lora_path: str) -> dict[str, Any]:
    return {
        "prompt": sample.prompt,
        "seed": sample.seed,
        "steps": protocol.steps,
        "cfg": protocol.cfg,
        "lora_path": lora_path,
        "lora_scale": sample.lora_scale,
    }


def _name(sample: Sample) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", sample.prompt.lower()).strip("-")[:60].rstrip("-")
    # Two long prompts may begin alike.
    mark = hashlib.sha256(sample.prompt.encode()).hexdigest()[:6]
    return f"{words}-{mark}-seed-{sample.seed}-scale-{sample.lora_scale:g}.png"
