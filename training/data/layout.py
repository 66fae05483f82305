"""Where the images of a data set lie: as this project lays one out, or as other trainers do.

Read are our own ``raw/``; kohya's folders, ``<repeats>_<trigger> <class>`` in the data set itself, in its ``img/`` or in
``raw/``, with regularization in ``reg/``; and folders that just hold images with captions (ai-toolkit, OneTrainer, diffusers'
``imagefolder``), however deep.
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
_ROLES = (MASKS, *_KOHYA_REGULARIZATION, REFERENCE)
"""Folders directly in the data set whose images are something else than what is learned."""

_OF_TRAINERS = ("prepared", "log", "logs", "model", "models")
"""Folders directly in the data set that a trainer writes: their images are not the user's."""

_OWN_OUTPUTS = ("preview.png",)
_KOHYA = re.compile(r"(?P<repeats>\d+)_(?P<name>.+)")
_SHOWN = 6


@dataclass(frozen=True)
class ImageFolder:
    """A folder whose images are used.

    ``repeats`` is how often an epoch has each of its images, and ``caption`` what kohya's folder name says of them; both are None
    where the name says nothing.
    """

    path: Path
    is_regularization: bool = False
    repeats: int | None = None
    caption: str | None = None

    def images(self, dataset: Path) -> list[Path]:
        """The images in the folder itself; in the data set's own folder without what the preparation writes there."""
        found = images_in(self.path)
        return [path for path in found if path.name not in _OWN_OUTPUTS] if self.path == dataset else found


@dataclass(frozen=True)
class Layout:
    """Where a data set's images are: the folder of those to learn from, the folders with images, those for regularization last.

    ``unread`` are folders and files with images that are not used, each with the reason.
    """

    root: Path
    folders: tuple[ImageFolder, ...]
    unread: tuple[tuple[Path, str], ...]


def find_layout(dataset: Path) -> Layout:
    """How the images of ``dataset`` are laid out.

    Raises ``BadInput`` where there is no image to learn from, which says what is there instead, and for a folder of masks,
    regularization or references among the images to learn from.
    """
    if not dataset.is_dir():
        raise BadInput(f"{dataset}: no such folder. Put images and captions there; datasets/README.md shows how.")
    root = _root(dataset)
    own = [folder for folder in _below(root, dataset) if folder.images(dataset)]
    found = [folder for folder in own if folder.repeats != 0]
    if not found:
        raise BadInput(
            f"{dataset}: no images ({', '.join(ENDINGS)}) to learn from. {_told_of(dataset)} datasets/README.md shows how to lay "
            "out a data set."
        )
    regularization = [
        ImageFolder(each.path, True, each.repeats, each.caption)
        for name in _KOHYA_REGULARIZATION
        for each in _below(dataset / name, dataset)
        if each.images(dataset)
    ]
    used = tuple(folder for folder in (*found, *regularization) if folder.repeats != 0)
    never = [
        (each.path, "kohya's folder of 0 repeats, as its name says") for each in (*own, *regularization) if each.repeats == 0
    ]
    return Layout(root, used, (*never, *_outside(root, dataset)))


def kohya_names(dataset: Path) -> list[str]:
    """What kohya's folder names in ``dataset`` call what is learned, each once; none where it is laid out otherwise."""
    if not dataset.is_dir():
        return []
    folders = [folder for folder in _below(_root(dataset), dataset) if folder.repeats != 0 and images_in(folder.path)]
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
    """What has images in ``dataset`` and is not looked into: beside ``raw/`` or ``img/``, or what trainers write."""
    if root == dataset:
        apart = [dataset / name for name in _OF_TRAINERS[1:]]
        reason = "a folder of that name is taken for what a trainer writes; rename it to use its images"
    else:
        apart = [path for path in folders_in(dataset) if path.name not in (*_ROLES, *_OF_TRAINERS[:1]) and path != root]
        apart += ImageFolder(dataset).images(dataset)
        reason = f"images are read from {root.relative_to(dataset)}/; move it there to use it"
    return [(path, reason) for path in apart if path.is_file() or images_below(path)]


def _below(folder: Path, dataset: Path) -> Iterator[ImageFolder]:
    """``folder`` and those in it, each with what its name or that of one around it says."""
    if folder.is_dir():
        yield from _walk(folder, _named(folder), dataset)


def _walk(folder: Path, named: ImageFolder, dataset: Path) -> Iterator[ImageFolder]:
    yield ImageFolder(folder, repeats=named.repeats, caption=named.caption)
    for inner in folders_in(folder):
        if folder == dataset and inner.name in (*_ROLES, *_OF_TRAINERS):
            continue
        if inner.name in _ROLES and images_below(inner):
            raise BadInput(
                f"{inner}: a folder of that name is read directly in {dataset} alone. Move it there, or rename it if its images "
                "are to be learned from."
            )
        own = _named(inner)
        yield from _walk(inner, own if own.repeats is not None else named, dataset)


def _named(folder: Path) -> ImageFolder:
    """What kohya's ``<repeats>_<name>`` says; a folder of another name says nothing."""
    name = _KOHYA.fullmatch(folder.name)
    return ImageFolder(folder, repeats=int(name["repeats"]), caption=name["name"].strip()) if name else ImageFolder(folder)


def _told_of(dataset: Path) -> str:
    """What is in ``dataset`` after all, in a sentence."""
    inner = [(path, len(images_below(path))) for path in folders_in(dataset)]
    if found := [f"{count} images in {path.relative_to(dataset)}/" for path, count in inner if count]:
        return f"There are {', '.join(found[:_SHOWN])}."
    files = Counter(path.suffix.lower() or path.name for path in dataset.rglob("*") if path.is_file())
    told = [f"{count} of {suffix}" for suffix, count in files.most_common(_SHOWN)]
    return f"There are files of other kinds: {', '.join(told)}." if told else "It is empty."
