"""The concept's own pictures: held out to compare with, and trained on to find copies of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evaluation.extractors.base import Pixels
from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_value

_DATASET, _REFERENCE = "dataset.json", "reference"
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class References:
    """Pictures of the concept: ``held_out`` were never trained on, ``training`` were. Without any, nothing can be decided."""

    held_out: tuple[Path, ...] = ()
    training: tuple[Path, ...] = ()
    trigger: str | None = None

    def facts(self) -> dict[str, Any]:
        """What results say of them."""
        hashes = {"held_out_sha256": _hash(self.held_out), "training_sha256": _hash(self.training)}
        return {"held_out": len(self.held_out), "training": len(self.training), **hashes}


def of_dataset(folder: Path) -> References:
    """Those of a prepared data set: its held-out pictures and what lies in ``reference/``, and its training pictures."""
    path = folder / _DATASET
    if not path.is_file():
        raise BadInput(f"{path}: not there. `python -m training.prepare_dataset --dataset {folder}` writes it.")
    told = read_json(path)
    roles = {
        role: tuple(folder / entry["file"] for entry in told["entries"] if entry["role"] == role) for role in ("holdout", "train")
    }
    beside = folder / _REFERENCE
    return References((*roles["holdout"], *(_pictures(beside) if beside.is_dir() else ())), roles["train"], told["trigger"])


def of_folder(folder: Path) -> References:
    """The pictures in a folder, all held out."""
    if not folder.is_dir() or not (found := _pictures(folder)):
        raise BadInput(f"{folder}: no folder with pictures ({', '.join(_PICTURES)}) of the concept is there.")
    return References(found)


def load(path: Path) -> Pixels:
    """A picture as an array (height, width, 3); ``BadInput`` when it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read as a picture ({error}).") from None


def _hash(paths: Sequence[Path]) -> str:
    """One hash over all of them."""
    return hash_value([hash_file(path) for path in paths])


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES))
