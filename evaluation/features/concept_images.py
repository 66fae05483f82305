"""The concept's own images: held-out images to compare with, and training images to find copies of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.arrays import Pixels
from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file, hash_value
from foundation.image_files import ENDINGS, images_in
from foundation.image_reader import open_image

_DATASET, _REFERENCE = "dataset.json", "reference"


@dataclass(frozen=True)
class References:
    """Images of the concept: ``held_out`` were never trained on, ``training`` were. Without any, nothing can be decided.

    ``background`` is the colour that transparent images are put on, ``resolution`` the one that the data set was prepared at.
    """

    held_out: tuple[Path, ...] = ()
    training: tuple[Path, ...] = ()
    trigger: str | None = None
    background: str = "white"
    resolution: int | None = None

    def summary(self) -> dict[str, Any]:
        """Return the counts and hashes that results record."""
        hashes = {"held_out_sha256": _hash(self.held_out), "training_sha256": _hash(self.training)}
        return {"held_out": len(self.held_out), "training": len(self.training), **hashes}


def references_from_dataset(folder: Path) -> References:
    """Return the references of a prepared data set: its held-out images, those in ``reference/``, and its training images.

    Raises ``BadInput`` if a file in ``reference/`` is one that is trained on.
    """
    path = folder / _DATASET
    if not path.is_file():
        raise BadInput(f"{path}: not found. `python -m training.prepare_dataset --dataset {folder}` writes it.")
    dataset = read_json(path)
    if not {"trigger", "background", "resolution", "entries"} <= dataset.keys():
        raise BadInput(f"{path}: written by another version. `python -m training.prepare_dataset --dataset {folder}` renews it.")
    roles = {role: [entry for entry in dataset["entries"] if entry["role"] == role] for role in ("holdout", "train")}
    prepared = {role: tuple(folder / entry["file"] for entry in entries) for role, entries in roles.items()}
    extra = tuple(images_in(folder / _REFERENCE))
    sources = {entry["source_sha256"]: entry["source"] for entry in roles["train"]}
    for image in extra:
        if source := sources.get(hash_file(image)):
            raise BadInput(
                f"{image}: the same file as the training image {source}; held-out images must not be trained on. Remove one of "
                "the two."
            )
    held_out = (*prepared["holdout"], *extra)
    return References(held_out, prepared["train"], dataset["trigger"], dataset["background"], dataset["resolution"])


def references_from_folder(folder: Path) -> References:
    """Return the images in a folder, all held out."""
    images = tuple(images_in(folder))
    if not images:
        raise BadInput(f"{folder}: not a folder with images ({', '.join(ENDINGS)}) of the concept.")
    return References(images)


def load_image(path: Path, background: str = "white") -> Pixels:
    """Return an image as an RGB array (height, width, 3), read as training reads it; ``BadInput`` if it cannot be read."""
    return np.asarray(open_image(path, background).image)


def _hash(paths: Sequence[Path]) -> str:
    """Return one hash over all files."""
    return hash_value([hash_file(path) for path in paths])
