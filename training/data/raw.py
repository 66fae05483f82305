"""Raw images with their captions and masks: found and paired."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import is_junk, others_in
from training.data.caption_files import CaptionFiles, Found, is_caption_file
from training.data.caption_tables import Captions
from training.data.layout import MASKS, ImageFolder, find_layout
from training.data.masks import masks_of, without_masks

_OF_REPEATS = "relative to those of the other folders: a run's length is counted in steps"
_OF_REGULARIZATION = "for regularization, whose repeats are not followed: prior.weight says what it counts"
_OUTPUTS = ("concept.yaml", "dataset.json", "counts.json", "manifest.json", "preview.png")
_SHOWN = 3


@dataclass(frozen=True)
class RawImage:
    """An image file and its captions, without any where none is told; ``notes`` are for the user.

    ``source`` is its path in the data set, ``repeats`` how often an epoch has it, ``files`` what it consists of.
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
        """Every file it consists of."""
        return [path for path in (self.path, self.caption_file, self.mask) if path is not None]


@dataclass(frozen=True)
class RawData:
    """The images of a data set, how it was read, a sentence each, and what lies among them and is not used, with the reason."""

    images: tuple[RawImage, ...]
    readings: tuple[str, ...]
    unused: tuple[tuple[Path, str], ...]


def find(dataset: Path) -> RawData:
    """The images of ``dataset`` by path, each with its captions and mask, those for regularization last.

    Raises ``BadInput`` when there is none to learn from, when two would share one caption, or for a mask of no image.
    """
    layout = find_layout(dataset)
    files = {folder: folder.images(dataset) for folder in layout.folders}
    captions = CaptionFiles(dataset, without_masks([image for found in files.values() for image in found]))
    own = [image for folder, found in files.items() if not folder.is_regularization for image in found]
    beside = sorted(set(own) - set(without_masks(own)))
    masks = masks_of(without_masks(own), beside, dataset, layout.root)
    images = []
    for folder, found in files.items():
        _check_names(without_masks(found))
        images += [_image(image, folder, dataset, captions, masks.get(image)) for image in without_masks(found)]
    taught = [image for image in images if not image.is_regularization]
    return RawData(
        tuple(_with_relative_repeats(taught) + [image for image in images if image.is_regularization]),
        tuple(_readings(dataset, layout.folders, images)),
        (*layout.unread, *_masks_without_use(files), *_unused(dataset, layout.folders, captions)),
    )


def _image(image: Path, folder: ImageFolder, dataset: Path, captions: CaptionFiles, mask: Path | None) -> RawImage:
    found = captions.of(image)
    if found is None and folder.caption is not None:
        found = Found((folder.caption,), image)
    notes = (
        tuple(f"{other.name} says something else than {found.file.name} and is not used" for other in found.others)
        if found
        else ()
    )
    return RawImage(
        path=image,
        source=image.relative_to(dataset).as_posix(),
        captions=found.captions if found else (),
        caption_file=found.file if found and found.file != image else None,
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
                f"{path}: has the same name as {stems[path.stem].name}, and one caption cannot serve two images. Rename one."
            )
        stems[path.stem] = path


def _with_relative_repeats(images: list[RawImage]) -> list[RawImage]:
    """The images, repeated only where they are not all repeated alike: a run's length is counted in steps."""
    common = gcd(*(image.repeats for image in images))
    return [replace(image, repeats=max(1, image.repeats // max(1, common))) for image in images]


def _readings(dataset: Path, folders: Sequence[ImageFolder], images: Sequence[RawImage]) -> list[str]:
    """How a data set that leaves a choice was read."""
    told = []
    for folder in folders:
        if folder.repeats is not None:
            what = _OF_REGULARIZATION if folder.is_regularization else f"{folder.repeats} repeats, {_OF_REPEATS}"
            told.append(f"{folder.path.relative_to(dataset)}/ is read as kohya's: {folder.caption!r}, {what}")
    return told + _reading_of_captions(images, dataset)


def _reading_of_captions(images: Sequence[RawImage], dataset: Path) -> list[str]:
    told = []
    if several := [image for image in images if len(image.captions) > 1]:
        told.append(
            f"{len(several)} captions have several lines, as {several[0].source}: each line is a caption of its own, and "
            "one is drawn each epoch (caption_lines: joined in concept.yaml makes them one)"
        )
    if empty := [image for image in images if image.captions == ("",)]:
        told.append(f"{len(empty)} captions are empty, as that of {empty[0].source}")
    kinds = Counter(_kind(image) for image in images if image.caption_file is not None)
    unusual = [f"{count} from {kind}" for kind, count in kinds.items() if kind != ".txt"]
    if unusual:
        told.append(f"captions are read {', '.join(unusual)}")
    if named := [image for image in images if image.captions and image.caption_file is None]:
        folders = sorted({str(image.path.parent.relative_to(dataset)) for image in named})
        told.append(
            f"{len(named)} images have no caption file and take what their folder is called: {', '.join(folders[:_SHOWN])}"
        )
    return told


def _kind(image: RawImage) -> str:
    file = image.caption_file
    assert file is not None
    if file.stem not in (image.path.stem, image.path.name):
        return file.name
    return file.name.removeprefix(image.path.stem) if file.name.startswith(image.path.stem) else file.suffix


def _masks_without_use(images: Mapping[ImageFolder, Sequence[Path]]) -> list[tuple[Path, str]]:
    """Masks of images for regularization, of which every pixel counts."""
    found = [image for folder, paths in images.items() if folder.is_regularization for image in paths]
    return [
        (path, "a mask of an image for regularization, which has none") for path in sorted(set(found) - set(without_masks(found)))
    ]


def _unused(dataset: Path, folders: Sequence[ImageFolder], captions: CaptionFiles) -> list[tuple[Path, str]]:
    """What lies among the images and is not used, each with the reason."""
    outputs = {dataset / name for name in _OUTPUTS}
    found = []
    for path in dict.fromkeys([*(folder.path for folder in folders), dataset / MASKS]):
        for other in others_in(path):
            if other.path in captions.used or other.path in outputs:
                continue
            reason = other.reason
            if is_caption_file(other.path) and not is_junk(other.path):
                is_beside_mask = path == dataset / MASKS
                reason = (
                    "a caption beside a mask; captions belong beside the image"
                    if is_beside_mask
                    else "a caption without an image of its name"
                )
            found.append((other.path, reason))
    return [*found, *captions.unknown_rows()]
