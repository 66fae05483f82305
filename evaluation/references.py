"""The concept's own images: held out to compare with, and trained on to find copies of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.extractors.base import Pixels
from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_value
from foundation.image_files import ENDINGS, images_in
from foundation.images import open_image

_DATASET, _REFERENCE = "dataset.json", "reference"


@dataclass(frozen=True)
class References:
    """Images of the concept: ``held_out`` were never trained on, ``training`` were. Without any, nothing can be decided.

    ``background`` is the colour that transparent ones lie on, ``resolution`` what the data set was prepared at.
    """

    held_out: tuple[Path, ...] = ()
    training: tuple[Path, ...] = ()
    trigger: str | None = None
    background: str = "white"
    resolution: int | None = None

    def facts(self) -> dict[str, Any]:
        """What results say of them."""
        hashes = {"held_out_sha256": _hash(self.held_out), "training_sha256": _hash(self.training)}
        return {"held_out": len(self.held_out), "training": len(self.training), **hashes}


def of_dataset(folder: Path) -> References:
    """Those of a prepared data set: its held-out images and what lies in ``reference/``, and its training images.

    ``BadInput`` where a file in ``reference/`` is one that was trained on.
    """
    path = folder / _DATASET
    if not path.is_file():
        raise BadInput(f"{path}: not there. `python -m training.prepare_dataset --dataset {folder}` writes it.")
    told = read_json(path)
    if not {"trigger", "background", "resolution", "entries"} <= told.keys():
        raise BadInput(f"{path}: written by another version. `python -m training.prepare_dataset --dataset {folder}` renews it.")
    roles = {role: [entry for entry in told["entries"] if entry["role"] == role] for role in ("holdout", "train")}
    prepared = {role: tuple(folder / entry["file"] for entry in entries) for role, entries in roles.items()}
    beside = tuple(images_in(folder / _REFERENCE))
    trained = {entry["source_sha256"]: entry["source"] for entry in roles["train"]}
    for each in beside:
        if source := trained.get(hash_file(each)):
            raise BadInput(
                f"{each}: the same file as {source}, which was trained on; what is held out must not be. Take one out."
            )
    return References((*prepared["holdout"], *beside), prepared["train"], told["trigger"], told["background"], told["resolution"])


def of_folder(folder: Path) -> References:
    """The images in a folder, all held out."""
    found = tuple(images_in(folder))
    if not found:
        raise BadInput(f"{folder}: no folder with images ({', '.join(ENDINGS)}) of the concept is there.")
    return References(found)


def load(path: Path, background: str = "white") -> Pixels:
    """An image as an array (height, width, 3), read as training reads it; ``BadInput`` when it cannot be read."""
    return np.asarray(open_image(path, background).image)


def _hash(paths: Sequence[Path]) -> str:
    """One hash over all of them."""
    return hash_value([hash_file(path) for path in paths])
