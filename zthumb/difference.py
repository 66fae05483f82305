"""How two files differ, in words: the first place, and by how much."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foundation.hashing import hash_file

PIXELS = 2.0
"""Images that were made on a GPU may differ by so much of 255 on average."""
NUMBERS, LITTLE = 0.01, 0.005
"""Numbers that were made on a GPU may differ by this share of the larger one, or by so little."""

_VARIES = frozenset({"environment"})
"""Parts of results that tell of the machine and the code, and nothing of what was found."""
_PROSE = frozenset({"told", "reason", "sentence"})
"""Parts of results that say in words what stands there in numbers."""
_PROVENANCE = re.compile(r'<section id="provenance".*?</section>|^## How it was made$.*?(?=^## |\Z)', re.DOTALL | re.MULTILINE)
"""The part of a report's pages that tells of the machine and the code."""


def difference(one: Path, other: Path, digest: str, is_tolerant: bool) -> str | None:
    """How ``other`` differs from ``one``, whose SHA-256 was ``digest``; None where that is nothing that counts."""
    if not one.is_file() or hash_file(one) != digest:
        return f"SHA-256 {hash_file(other)[:12]}… and not {digest[:12]}…; the file of then is not here to compare with"
    if one.suffix == ".json":
        return _of_values(json.loads(one.read_text(encoding="utf-8")), json.loads(other.read_text(encoding="utf-8")), is_tolerant)
    if one.suffix == ".jsonl":
        first, second = ([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (one, other))
        return _of_values(first, second, is_tolerant)
    if one.suffix in (".png", ".webp", ".jpg"):
        return _of_images(one, other, is_tolerant)
    if one.suffix == ".safetensors":
        return _of_tensors(one, other, is_tolerant)
    if is_tolerant:
        return None
    if one.suffix in (".html", ".md"):
        return _of_bytes(*(_PROVENANCE.sub("", path.read_text(encoding="utf-8")).encode() for path in (one, other)))
    return _of_bytes(one.read_bytes(), other.read_bytes())


def _of_bytes(one: bytes, other: bytes) -> str | None:
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False))
    place = next((place for place, (first, second) in pairs if first != second), min(len(one), len(other)))
    return f"byte {place} ({len(one)} bytes then, {len(other)} now)"


def _of_values(one: Any, other: Any, is_tolerant: bool) -> str | None:
    for where, first, second in _leaves(one, other):
        if is_tolerant and (_is_near(first, second) or where.rpartition(".")[2] in _PROSE):
            continue
        return f"{where} was {_short(first)} and is {_short(second)}"
    return None


def _leaves(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place where two JSON values differ, in order."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if not (where == "" and key in _VARIES):
                yield from _leaves(one.get(key), other.get(key), f"{where}.{key}" if where else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from _leaves(first, second, f"{where}[{place}]")
    elif one != other:
        yield where or "the whole", one, other


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_near(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool)
    # Hashes of what may differ differ.
    hashes = isinstance(one, str) and isinstance(other, str) and len(one) == len(other) == 64
    return hashes or (numbers and abs(one - other) <= max(LITTLE, NUMBERS * max(abs(one), abs(other))))


def _of_images(one: Path, other: Path, is_tolerant: bool) -> str | None:
    with Image.open(one) as first, Image.open(other) as second:
        if first.size != second.size:
            return f"{first.width} × {first.height} pixels then, {second.width} × {second.height} now"
        apart = np.abs(np.asarray(first.convert("RGB"), np.int16) - np.asarray(second.convert("RGB"), np.int16))
    if is_tolerant and apart.mean() <= PIXELS:
        return None
    if not apart.any():
        return "the same pixels in another file"
    row, column = np.argwhere(apart.any(axis=2))[0]
    return f"pixel ({column}, {row}) first, by {apart.max()} of 255 at the most and {apart.mean():.3f} on average"


def _of_tensors(one: Path, other: Path, is_tolerant: bool) -> str | None:
    import torch
    from safetensors.torch import load_file

    first, second = load_file(one), load_file(other)
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second or first[name].shape != second[name].shape:
            return f"tensor {name} is not in both in one shape"
        then, now = first[name].to(torch.float64), second[name].to(torch.float64)
        most = float((then - now).abs().max()) if then.numel() else 0.0
        if most and not (is_tolerant and most <= NUMBERS * float(then.abs().max())):
            return f"tensor {name}, by {most:.3g} at the most"
    return None if is_tolerant else "the same tensors in another file"
