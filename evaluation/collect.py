"""Asking the server for every sample and measuring what comes back."""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from tqdm import tqdm

from evaluation.client import Client
from evaluation.distances import pixel_distance
from evaluation.protocol import Protocol, Sample
from evaluation.results import IMAGES, SAMPLES, SampleResult
from foundation.errors import StageFailed
from foundation.files import whole_file, write_text


def collect(client: Client, protocol: Protocol, wanted: Sequence[Sample], lora_path: str, folder: Path) -> list[SampleResult]:
    """Ask for each sample that ``folder`` does not hold yet, keep its picture there and return what was measured of all.

    A sample that fails is a record and not an exit: the report says how many of how many there are, and the next call asks again.
    """
    done = _recorded(folder)
    bar = tqdm(total=len(wanted), desc="evaluate", unit="picture")
    for _, group in groupby(wanted, key=lambda sample: (sample.stratum, sample.prompt, sample.seed)):
        ordered = sorted(group, key=lambda sample: sample.lora_scale != 0)
        for sample in ordered:
            if sample not in done:
                base = done.get(ordered[0])
                done[sample] = _one(client, protocol, sample, lora_path, folder, base)
                _record(folder, done[sample])
            bar.update()
    bar.close()
    found = [done[sample] for sample in wanted]
    write_text(folder / SAMPLES, "".join(_line(result) for result in found))
    return found


def _recorded(folder: Path) -> dict[Sample, SampleResult]:
    """What a killed evaluation had measured; the last line may be cut off, and what failed is asked again."""
    path = folder / SAMPLES
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            result = SampleResult.model_validate_json(line)
        except ValidationError:
            continue
        if result.distance is not None:
            found[Sample(result.stratum, result.prompt, result.seed, result.lora_scale)] = result
    return found


def _record(folder: Path, result: SampleResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SAMPLES).open("a", encoding="utf-8") as file:
        file.write(_line(result))


def _line(result: SampleResult) -> str:
    return json.dumps(result.model_dump(mode="json")) + "\n"


def _one(
    client: Client, protocol: Protocol, sample: Sample, lora_path: str, folder: Path, base: SampleResult | None
) -> SampleResult:
    asked: dict[str, Any] = asdict(sample)
    try:
        data, meta = client.generate(_request(protocol, sample, lora_path))
    except StageFailed as error:
        return SampleResult(**asked, status="failed", error=str(error))
    name = f"{IMAGES}/{_name(sample)}"
    with whole_file(folder / name) as temporary:
        temporary.write_bytes(data)
    return SampleResult(
        **asked,
        status="ok",
        image=name,
        sha256=hashlib.sha256(data).hexdigest(),
        distance=_distance(folder, data, sample, base),
        adapter_sha256=meta["loras"][0]["sha256"],
        seconds=meta["timings"]["generate"],
    )


def _distance(folder: Path, data: bytes, sample: Sample, base: SampleResult | None) -> float | None:
    if sample.lora_scale == 0:
        return 0.0
    if base is None or base.image is None:
        return None
    return round(pixel_distance(_pixels((folder / base.image).read_bytes()), _pixels(data)), 6)


def _pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _request(protocol: Protocol, sample: Sample, lora_path: str) -> dict[str, Any]:
    return {
        "prompt": sample.prompt,
        "seed": sample.seed,
        "steps": protocol.steps,
        "cfg": protocol.cfg,
        "lora_path": lora_path,
        "lora_scale": sample.lora_scale,
        # To the last bit, whatever else the server is asked for meanwhile.
        "deterministic": True,
    }


def _name(sample: Sample) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", sample.prompt.lower()).strip("-")[:60].rstrip("-")
    # Two long prompts may begin alike.
    mark = hashlib.sha256(sample.prompt.encode()).hexdigest()[:6]
    return f"{words}-{mark}-seed-{sample.seed}-scale-{sample.lora_scale:g}.png"
