"""``reference/``: images to judge by, which must not be among those that are trained on."""

from pathlib import Path

from foundation.errors import BadInput
from foundation.fingerprint import ONE_IMAGE, Fingerprints, fingerprint
from foundation.hashing import hash_file
from foundation.image_files import images_in
from foundation.images import open_image
from training.data.dataset import Dataset, Entry
from training.data.fit import fit
from training.data.layout import REFERENCE
from training.recipe import Recipe


def find(folder: Path) -> list[Path]:
    """The reference images of the data set in ``folder``."""
    return images_in(folder / REFERENCE)


def check(folder: Path, dataset: Dataset, recipe: Recipe) -> None:
    """Refuse references that cannot be read, and those that are trained on: likeness to them would reward copies.

    Compared are the files; then the images, both as they are and fitted as the trained one is, by fingerprint. Raises
    ``BadInput``, which names both files.
    """
    references, trained = find(folder), dataset.of("train")
    if not references:
        return
    by_hash = {entry.source_sha256: entry for entry in trained}
    prints = Fingerprints.of([fingerprint(open_image(folder / entry.file).image) for entry in trained])
    for path in references:
        image = open_image(path, dataset.background).image
        if entry := by_hash.get(hash_file(path)):
            raise _trained_on(path, entry)
        versions = prints.versions_of(fingerprint(image), *ONE_IMAGE)
        for size in {entry.size for entry in trained}:
            fitted = fingerprint(fit(image, size, recipe.data.crop).image)
            versions |= prints.near(fitted, *ONE_IMAGE) & [entry.size == size for entry in trained]
        if versions.any():
            raise _trained_on(path, trained[int(versions.argmax())])


def _trained_on(path: Path, entry: Entry) -> BadInput:
    return BadInput(
        f"{path}: shows the same image as {entry.source}, which is trained on; what it is judged by must not be. Take one of "
        "the two out."
    )
