"""Find the raw images of a data set, and pair them with their captions and masks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import is_junk, list_non_images
from training.data.caption_files import CaptionFiles, ImageCaptions, is_caption_file
from training.data.caption_tables import Captions
from training.data.layout import MASKS, ImageFolder, find_layout
from training.data.masks import find_masks, without_masks

# Readings and notes are stored in dataset.json, whose hash decides whether a run is resumed: a new wording would start it over.
_REPEATS_NOTE = "relative to those of the other folders: a run's length is counted in steps"
_REGULARIZATION_NOTE = "for regularization, whose repeats are not followed: prior.weight says what it counts"
_OUTPUTS = ("concept.yaml", "dataset.json", "counts.json", "manifest.json", "preview.png")
_MAX_LISTED = 3


@dataclass(frozen=True)
class RawImage:
    """An image file with its captions, if any, and its mask; ``notes`` are for the user.

    ``source`` is its path in the data set, ``repeats`` how often an epoch contains it.
    """

    path: Path
    source: str
    captions: Captions
    caption_file: Path | None = None
    is_regularization: bool = False
    mask: Path | None = None
    repeats: int = 1
    notes: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Return the image and, if there are any, its caption file and its mask."""
        return [path for path in (self.path, self.caption_file, self.mask) if path is not None]


@dataclass(frozen=True)
class RawData:
    """The images of a data set, sentences on how it was read, and the files that are not used, each with the reason."""

    images: tuple[RawImage, ...]
    readings: tuple[str, ...]
    unused: tuple[tuple[Path, str], ...]


def find_raw_images(dataset: Path) -> RawData:
    """Return the images of ``dataset`` by path, each with its captions and mask, those for regularization last.

    Raises ``BadInput`` if there is no image to train on, if two would share one caption, or for a mask of no image.
    """
    layout = find_layout(dataset)
    files = {folder: folder.images(dataset) for folder in layout.folders}
    captions = CaptionFiles(dataset, without_masks([path for paths in files.values() for path in paths]))
    concept_files = [path for folder, paths in files.items() if not folder.is_regularization for path in paths]
    sidecar_masks = sorted(set(concept_files) - set(without_masks(concept_files)))
    masks = find_masks(without_masks(concept_files), sidecar_masks, dataset, layout.root)
    images = []
    for folder, paths in files.items():
        _check_names(without_masks(paths))
        images += [_raw_image(path, folder, dataset, captions, masks.get(path)) for path in without_masks(paths)]
    concept_images = [image for image in images if not image.is_regularization]
    return RawData(
        tuple(_with_relative_repeats(concept_images) + [image for image in images if image.is_regularization]),
        tuple(_readings(dataset, layout.folders, images)),
        (*layout.unused, *_unused_masks(files), *_unused_files(dataset, layout.folders, captions)),
    )


def _raw_image(path: Path, folder: ImageFolder, dataset: Path, caption_files: CaptionFiles, mask: Path | None) -> RawImage:
    captions = caption_files.find(path)
    if captions is None and folder.caption is not None:
        captions = ImageCaptions((folder.caption,), path)
    notes = (
        tuple(f"{file.name} says something else than {captions.file.name} and is not used" for file in captions.conflicting)
        if captions
        else ()
    )
    return RawImage(
        path=path,
        source=path.relative_to(dataset).as_posix(),
        captions=captions.captions if captions else (),
        caption_file=captions.file if captions and captions.file != path else None,
        is_regularization=folder.is_regularization,
        mask=mask,
        repeats=folder.repeats or 1,
        notes=notes,
    )


def _check_names(paths: Sequence[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise BadInput(
                f"{path}: has the same name as {stems[path.stem].name}, but one caption cannot serve two images. Rename one."
            )
        stems[path.stem] = path


def _with_relative_repeats(images: list[RawImage]) -> list[RawImage]:
    """Divide the repeats by their common divisor: a run's length is counted in steps, so only their ratios matter."""
    common = gcd(*(image.repeats for image in images))
    return [replace(image, repeats=max(1, image.repeats // max(1, common))) for image in images]


def _readings(dataset: Path, folders: Sequence[ImageFolder], images: Sequence[RawImage]) -> list[str]:
    """Say how the data set was read where more than one way was possible."""
    readings = []
    for folder in folders:
        if folder.repeats is not None:
            note = _REGULARIZATION_NOTE if folder.is_regularization else f"{folder.repeats} repeats, {_REPEATS_NOTE}"
            readings.append(f"{folder.path.relative_to(dataset)}/ is read as kohya's: {folder.caption!r}, {note}")
    return readings + _caption_readings(images, dataset)


def _caption_readings(images: Sequence[RawImage], dataset: Path) -> list[str]:
    readings = []
    if several := [image for image in images if len(image.captions) > 1]:
        readings.append(
            f"{len(several)} captions have several lines, as {several[0].source}: each line is a caption of its own, and "
            "one is drawn each epoch (caption_lines: joined in concept.yaml makes them one)"
        )
    if empty := [image for image in images if image.captions == ("",)]:
        readings.append(f"{len(empty)} captions are empty, as that of {empty[0].source}")
    kinds = Counter(_caption_file_kind(image) for image in images if image.caption_file is not None)
    unusual = [f"{count} from {kind}" for kind, count in kinds.items() if kind != ".txt"]
    if unusual:
        readings.append(f"captions are read {', '.join(unusual)}")
    if named := [image for image in images if image.captions and image.caption_file is None]:
        folders = sorted({str(image.path.parent.relative_to(dataset)) for image in named})
        readings.append(
            f"{len(named)} images have no caption file and take what their folder is called: {', '.join(folders[:_MAX_LISTED])}"
        )
    return readings


def _caption_file_kind(image: RawImage) -> str:
    """Return the ending that follows the image's name, or the whole name of a caption file for many images."""
    file = image.caption_file
    assert file is not None
    if file.stem not in (image.path.stem, image.path.name):
        return file.name
    return file.name.removeprefix(image.path.stem) if file.name.startswith(image.path.stem) else file.suffix


def _unused_masks(images: Mapping[ImageFolder, Sequence[Path]]) -> list[tuple[Path, str]]:
    """Return the masks of regularization images, which are trained on without masks."""
    files = [path for folder, paths in images.items() if folder.is_regularization for path in paths]
    masks = sorted(set(files) - set(without_masks(files)))
    return [(path, "a mask of a regularization image; those are trained on without masks") for path in masks]


def _unused_files(dataset: Path, folders: Sequence[ImageFolder], captions: CaptionFiles) -> list[tuple[Path, str]]:
    """Return the files among the images that are not used, each with the reason."""
    outputs = {dataset / name for name in _OUTPUTS}
    unused = []
    for folder in dict.fromkeys([*(folder.path for folder in folders), dataset / MASKS]):
        for file in list_non_images(folder):
            if file.path in captions.used or file.path in outputs:
                continue
            reason = file.reason
            if is_caption_file(file.path) and not is_junk(file.path):
                is_next_to_mask = folder == dataset / MASKS
                reason = (
                    "a caption next to a mask; captions belong next to the image"
                    if is_next_to_mask
                    else "a caption without an image of its name"
                )
            unused.append((file.path, reason))
    return [*unused, *captions.unknown_rows()]
