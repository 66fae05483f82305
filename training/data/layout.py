"""Find the images of a data set, in this project's own layout or in that of another trainer.

Supported are our own ``raw/``; kohya's folders, ``<repeats>_<trigger> <class>`` in the data set itself, in its ``img/`` or in
``raw/``, with regularization in ``reg/``; and folders that just contain images with captions (ai-toolkit, OneTrainer, diffusers'
``imagefolder``), at any depth.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import ENDINGS, folders_in, images_below, images_in

RAW, MASKS, REGULARIZATION, REFERENCE = "raw", "masks", "regularization", "reference"
_KOHYA_IMAGES, _KOHYA_REGULARIZATION = ("img", "image", "images", "train"), ("reg", REGULARIZATION)
_NOT_TRAINING_IMAGES = (MASKS, *_KOHYA_REGULARIZATION, REFERENCE)
"""Folders directly in the data set whose images have another purpose than to be trained on."""

_TRAINER_OUTPUTS = ("prepared", "log", "logs", "model", "models")
"""Folders directly in the data set that a trainer writes: their images are not the user's."""

_OWN_OUTPUTS = ("preview.png",)
_KOHYA = re.compile(r"(?P<repeats>\d+)_(?P<name>.+)")
_MAX_LISTED = 6


@dataclass(frozen=True)
class ImageFolder:
    """A folder whose images are used.

    ``repeats`` is how often an epoch contains each of its images, and ``caption`` their caption, both from kohya's folder name;
    None if the folder has another name.
    """

    path: Path
    is_regularization: bool = False
    repeats: int | None = None
    caption: str | None = None

    def images(self, dataset: Path) -> list[Path]:
        """Return the images in the folder itself; for the data set's own folder, without what the preparation writes there."""
        paths = images_in(self.path)
        return [path for path in paths if path.name not in _OWN_OUTPUTS] if self.path == dataset else paths


@dataclass(frozen=True)
class Layout:
    """The folder ``root`` of the images to train on, and all ``folders`` with images, those for regularization last.

    ``unused`` are folders and files with images that are not used, each with the reason.
    """

    root: Path
    folders: tuple[ImageFolder, ...]
    unused: tuple[tuple[Path, str], ...]


def find_layout(dataset: Path) -> Layout:
    """Return the layout of ``dataset``.

    Raises ``BadInput`` if there is no image to train on, with a list of what is there instead, and for a folder of masks,
    regularization or reference images among the images to train on.
    """
    if not dataset.is_dir():
        raise BadInput(f"{dataset}: no such folder. Put images and captions there; datasets/README.md shows how.")
    root = _root(dataset)
    with_images = [folder for folder in _folders_below(root, dataset) if folder.images(dataset)]
    trained = [folder for folder in with_images if folder.repeats != 0]
    if not trained:
        raise BadInput(
            f"{dataset}: no images ({', '.join(ENDINGS)}) to train on. {_describe_contents(dataset)} datasets/README.md shows "
            "how to lay out a data set."
        )
    regularization = [
        ImageFolder(folder.path, True, folder.repeats, folder.caption)
        for name in _KOHYA_REGULARIZATION
        for folder in _folders_below(dataset / name, dataset)
        if folder.images(dataset)
    ]
    used = tuple(folder for folder in (*trained, *regularization) if folder.repeats != 0)
    zero_repeats = [
        (folder.path, "a kohya folder with 0 repeats in its name")
        for folder in (*with_images, *regularization)
        if folder.repeats == 0
    ]
    return Layout(root, used, (*zero_repeats, *_outside(root, dataset)))


def kohya_names(dataset: Path) -> list[str]:
    """Return the different ``<trigger> <class>`` names of kohya's folders in ``dataset``; none if it has another layout."""
    if not dataset.is_dir():
        return []
    folders = [folder for folder in _folders_below(_root(dataset), dataset) if folder.repeats != 0 and images_in(folder.path)]
    return list(dict.fromkeys(folder.caption for folder in folders if folder.caption))


def _root(dataset: Path) -> Path:
    if (dataset / RAW).is_dir():
        return dataset / RAW
    if not images_in(dataset):
        for name in _KOHYA_IMAGES:
            if images_below(dataset / name):
                return dataset / name
    return dataset


def _outside(root: Path, dataset: Path) -> list[tuple[Path, str]]:
    """Return what has images in ``dataset`` but is not searched: next to ``raw/`` or ``img/``, or what trainers write."""
    if root == dataset:
        candidates = [dataset / name for name in _TRAINER_OUTPUTS[1:]]
        reason = "a folder of that name is treated as a trainer's output; rename it to use its images"
    else:
        ignored = (*_NOT_TRAINING_IMAGES, *_TRAINER_OUTPUTS[:1])
        candidates = [path for path in folders_in(dataset) if path.name not in ignored and path != root]
        candidates += ImageFolder(dataset).images(dataset)
        reason = f"images are read from {root.relative_to(dataset)}/; move it there to use it"
    return [(path, reason) for path in candidates if path.is_file() or images_below(path)]


def _folders_below(folder: Path, dataset: Path) -> Iterator[ImageFolder]:
    """Yield ``folder`` and those in it, with the repeats and the caption that a folder's own name or a parent's name gives."""
    if folder.is_dir():
        yield from _walk(folder, _parse_kohya_name(folder), dataset)


def _walk(folder: Path, inherited: ImageFolder, dataset: Path) -> Iterator[ImageFolder]:
    yield ImageFolder(folder, repeats=inherited.repeats, caption=inherited.caption)
    for inner in folders_in(folder):
        if folder == dataset and inner.name in (*_NOT_TRAINING_IMAGES, *_TRAINER_OUTPUTS):
            continue
        if inner.name in _NOT_TRAINING_IMAGES and images_below(inner):
            raise BadInput(
                f"{inner}: a folder of that name is only read directly in {dataset}. Move it there, or rename it to train on its "
                "images."
            )
        parsed = _parse_kohya_name(inner)
        yield from _walk(inner, parsed if parsed.repeats is not None else inherited, dataset)


def _parse_kohya_name(folder: Path) -> ImageFolder:
    """Parse kohya's ``<repeats>_<name>``; a folder of another name has neither repeats nor caption."""
    match = _KOHYA.fullmatch(folder.name)
    return ImageFolder(folder, repeats=int(match["repeats"]), caption=match["name"].strip()) if match else ImageFolder(folder)


def _describe_contents(dataset: Path) -> str:
    """Return a sentence that says what ``dataset`` contains."""
    folders = [(path, len(images_below(path))) for path in folders_in(dataset)]
    if with_images := [f"{count} images in {path.relative_to(dataset)}/" for path, count in folders if count]:
        return f"There are {', '.join(with_images[:_MAX_LISTED])}."
    files = Counter(path.suffix.lower() or path.name for path in dataset.rglob("*") if path.is_file())
    counts = [f"{count} of {suffix}" for suffix, count in files.most_common(_MAX_LISTED)]
    return f"There are files of other kinds: {', '.join(counts)}." if counts else "It is empty."
