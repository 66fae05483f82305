"""``dataset.json``: the checked data set that training reads."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from foundation.config import Strict, parse
from foundation.errors import BadInput
from foundation.files import read_json
from foundation.hashing import hash_file

NAME, PREPARED = "dataset.json", "prepared"


class Entry(Strict):
    """One prepared picture. Sizes and the crop's corner are (height, width) and (top, left) in pixels.

    ``notes`` tell what the user should know of how the picture was read.
    """

    file: str
    sha256: str
    source: str
    source_sha256: str
    caption: str
    original_size: tuple[int, int]
    crop: tuple[int, int]
    notes: tuple[str, ...] = ()


class LeftOut(Strict):
    """A raw picture that could not be used, and why."""

    source: str
    reason: str


class Dataset(Strict):
    """The prepared pictures of one concept, all of ``resolution`` × ``resolution`` pixels.

    ``alike`` are the sources of pictures that are versions of one; all of them are used.
    """

    schema_version: Literal[2] = 2
    trigger: str
    resolution: int = Field(ge=64)
    entries: tuple[Entry, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()


def read_dataset(folder: Path) -> Dataset:
    """Read the prepared data set in ``folder`` and check every picture against its hash."""
    path = folder / NAME
    if not path.exists():
        raise BadInput(f"{path}: not there. Run `python -m training.prepare_dataset --dataset {folder}` first.")
    dataset = parse(Dataset, read_json(path), str(path))
    for entry in dataset.entries:
        picture = folder / entry.file
        if not picture.exists() or hash_file(picture) != entry.sha256:
            raise BadInput(
                f"{picture}: missing or changed since. Run `python -m training.prepare_dataset --dataset {folder} --force`."
            )
    return dataset
