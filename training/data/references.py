"""``reference/``: images that the adapter is evaluated against, which must not be among the training images."""

from pathlib import Path

from foundation.errors import BadInput
from foundation.fingerprint import SAME_IMAGE, Fingerprints, fingerprint
from foundation.hashing import hash_file
from foundation.image_files import images_in
from foundation.image_reader import open_image
from training.data.dataset import Dataset, Entry
from training.data.fit import fit_image
from training.data.layout import REFERENCE
from training.recipe import Recipe


def find_references(folder: Path) -> list[Path]:
    """Return the reference images of the data set in ``folder``."""
    return images_in(folder / REFERENCE)


def check_references(folder: Path, dataset: Dataset, recipe: Recipe) -> None:
    """Raise ``BadInput`` for a reference image that cannot be read, or that is trained on: similarity to it would reward copies.

    The hashes of the files are compared, then the fingerprints of the images, both as they are and fitted like the training
    image. The error names both files.
    """
    references, trained = find_references(folder), dataset.of("train")
    if not references:
        return
    by_hash = {entry.source_sha256: entry for entry in trained}
    fingerprints = Fingerprints.of([fingerprint(open_image(folder / entry.file).image) for entry in trained])
    for path in references:
        image = open_image(path, dataset.background).image
        if entry := by_hash.get(hash_file(path)):
            raise _is_trained_on(path, entry)
        duplicates = fingerprints.find_versions(fingerprint(image), *SAME_IMAGE)
        for size in {entry.size for entry in trained}:
            fitted = fingerprint(fit_image(image, size, recipe.data.crop).image)
            duplicates |= fingerprints.near(fitted, *SAME_IMAGE) & [entry.size == size for entry in trained]
        if duplicates.any():
            raise _is_trained_on(path, trained[int(duplicates.argmax())])


def _is_trained_on(path: Path, entry: Entry) -> BadInput:
    return BadInput(
        f"{path}: shows the same image as {entry.source}, which is trained on; a reference image must not be. Remove one of "
        "the two."
    )
