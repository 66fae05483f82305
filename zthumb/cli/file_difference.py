"""Describe how two files differ: the first difference and its size."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foundation.hashing import hash_file

PIXELS = 2.0
"""Largest mean difference, of 255, between two images made on a GPU."""
NUMBERS, LITTLE = 0.01, 0.005
"""Largest relative and absolute difference between two numbers made on a GPU; one of them must hold."""

_IGNORED_SECTIONS = frozenset({"environment"})
"""Sections of results that describe the machine and the code, not the findings."""
_PROSE_KEYS = frozenset({"message", "reason", "sentence"})
"""Keys of results whose text repeats numbers that are compared themselves."""
_PROVENANCE = re.compile(r'<section id="provenance".*?</section>|^## How it was made$.*?(?=^## |\Z)', re.DOTALL | re.MULTILINE)
"""The section of a report's pages that describes the machine and the code."""


def difference(old: Path, new: Path, digest: str, is_tolerant: bool) -> str | None:
    """Return how ``new`` differs from ``old``, whose SHA-256 was ``digest``; None where no difference matters."""
    if not old.is_file() or hash_file(old) != digest:
        return f"SHA-256 {hash_file(new)[:12]}… and not {digest[:12]}…; the old file is not here to compare with"
    if old.suffix == ".json":
        return _diff_values(json.loads(old.read_text(encoding="utf-8")), json.loads(new.read_text(encoding="utf-8")), is_tolerant)
    if old.suffix == ".jsonl":
        first, second = ([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (old, new))
        return _diff_values(first, second, is_tolerant)
    if old.suffix in (".png", ".webp", ".jpg"):
        return _diff_images(old, new, is_tolerant)
    if old.suffix == ".safetensors":
        return _diff_tensors(old, new, is_tolerant)
    if is_tolerant:
        return None
    if old.suffix in (".html", ".md"):
        return _diff_bytes(*(_PROVENANCE.sub("", path.read_text(encoding="utf-8")).encode() for path in (old, new)))
    return _diff_bytes(old.read_bytes(), new.read_bytes())


def _diff_bytes(old: bytes, new: bytes) -> str | None:
    if old == new:
        return None
    pairs = enumerate(zip(old, new, strict=False))
    offset = next((offset for offset, (first, second) in pairs if first != second), min(len(old), len(new)))
    return f"byte {offset} ({len(old)} bytes then, {len(new)} now)"


def _diff_values(old: Any, new: Any, is_tolerant: bool) -> str | None:
    for path, first, second in _different_values(old, new):
        if is_tolerant and (_is_near(first, second) or path.rpartition(".")[2] in _PROSE_KEYS):
            continue
        return f"{path} was {_shorten(first)} and is {_shorten(second)}"
    return None


def _different_values(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield every path at which two JSON values differ, with both values, in order."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if not (path == "" and key in _IGNORED_SECTIONS):
                yield from _different_values(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (first, second) in enumerate(zip(old, new, strict=True)):
            yield from _different_values(first, second, f"{path}[{index}]")
    elif old != new:
        yield path or "the whole file", old, new


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_near(old: Any, new: Any) -> bool:
    are_numbers = isinstance(old, int | float) and isinstance(new, int | float) and not isinstance(old, bool)
    # Hashes of outputs that may differ differ as well.
    are_hashes = isinstance(old, str) and isinstance(new, str) and len(old) == len(new) == 64
    return are_hashes or (are_numbers and abs(old - new) <= max(LITTLE, NUMBERS * max(abs(old), abs(new))))


def _diff_images(old: Path, new: Path, is_tolerant: bool) -> str | None:
    with Image.open(old) as first, Image.open(new) as second:
        if first.size != second.size:
            return f"{first.width} × {first.height} pixels then, {second.width} × {second.height} now"
        distances = np.abs(np.asarray(first.convert("RGB"), np.int16) - np.asarray(second.convert("RGB"), np.int16))
    if is_tolerant and distances.mean() <= PIXELS:
        return None
    if not distances.any():
        return "the same pixels in a different file"
    row, column = np.argwhere(distances.any(axis=2))[0]
    return f"pixel ({column}, {row}) first, by {distances.max()} of 255 at most and {distances.mean():.3f} on average"


def _diff_tensors(old: Path, new: Path, is_tolerant: bool) -> str | None:
    import torch
    from safetensors.torch import load_file

    first, second = load_file(old), load_file(new)
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second or first[name].shape != second[name].shape:
            return f"tensor {name} is not in both files with the same shape"
        then, now = first[name].to(torch.float64), second[name].to(torch.float64)
        largest = float((then - now).abs().max()) if then.numel() else 0.0
        if largest and not (is_tolerant and largest <= NUMBERS * float(then.abs().max())):
            return f"tensor {name}, by {largest:.3g} at most"
    return None if is_tolerant else "the same tensors in a different file"
