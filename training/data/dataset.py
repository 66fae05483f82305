"""``dataset.json``: the checked data set that training reads."""

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field

from foundation.config import Strict, parse
from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file

NAME, PREPARED = "dataset.json", "prepared"

Role = Literal["train", "holdout", "regularization"]
"""What an image is used for: training, validation, or prior preservation."""


class Entry(Strict):
    """One prepared image. Sizes are (height, width), the crop's corner is (top, left), in pixels.

    ``alternatives`` are captions besides the first; training draws one of all captions each epoch, and an epoch contains the
    image ``repeats`` times. ``notes`` tell the user how the image was read. ``mask`` is the file of a grey image of the same
    size: where it is black, nothing is learned.
    """

    file: str
    sha256: str
    source: str
    source_sha256: str
    caption: str
    alternatives: tuple[str, ...] = ()
    repeats: int = Field(default=1, ge=1)
    role: Role = "train"
    size: tuple[int, int]
    original_size: tuple[int, int]
    crop: tuple[int, int]
    mask: str | None = None
    mask_sha256: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions, the first one first."""
        return (self.caption, *self.alternatives)

    def files(self) -> dict[str, str]:
        """Return the image and the mask, relative to the data set's folder, with their SHA-256."""
        masks = {} if self.mask is None or self.mask_sha256 is None else {self.mask: self.mask_sha256}
        return {self.file: self.sha256, **masks}


class LeftOut(Strict):
    """A raw image that could not be used, and why."""

    source: str
    reason: str


class Dataset(Strict):
    """The prepared images of one concept, each of about ``resolution`` × ``resolution`` pixels.

    ``background`` fills transparent parts. ``alike`` are groups of duplicates, by their sources: all of them are used, and a
    group is either trained on or held out as a whole. ``readings`` say how the raw data set was read where more than one way was
    possible.
    """

    schema_version: Literal[4] = 4
    trigger: str
    background: str = "white"
    resolution: int = Field(ge=64)
    entries: tuple[Entry, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    readings: tuple[str, ...] = ()

    def of(self, role: Role) -> tuple[Entry, ...]:
        """Return the entries with this role."""
        return tuple(entry for entry in self.entries if entry.role == role)

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Count the images of every kind, to be shown to the user."""
        sizes = Counter(f"{width} × {height}" for height, width in (entry.size for entry in self.entries))
        return {
            "train": len(self.of("train")),
            "holdout": len(self.of("holdout")),
            "regularization": len(self.of("regularization")),
            "masked": sum(entry.mask is not None for entry in self.entries),
            "noted": sum(bool(entry.notes) for entry in self.entries),
            "alike": sum(map(len, self.alike)),
            "left out": len(self.left_out),
            "sizes": dict(sorted(sizes.items())),
        }


def read_dataset(folder: Path) -> Dataset:
    """Read the prepared data set in ``folder`` and check the hash of every image; raises ``BadInput`` if one does not match."""
    path = folder / NAME
    if not path.exists():
        raise BadInput(f"{path}: missing. Run `python -m training.prepare_dataset --dataset {folder}` first.")
    dataset = parse(Dataset, read_json(path), str(path))
    for entry in dataset.entries:
        for name, digest in entry.files().items():
            if not (folder / name).exists() or hash_file(folder / name) != digest:
                raise BadInput(
                    f"{folder / name}: missing, or changed since it was prepared. "
                    f"Run `python -m training.prepare_dataset --dataset {folder} --force`."
                )
    return dataset
