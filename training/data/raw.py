"""Raw pictures with their captions and masks: found and paired."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import is_image_file, is_junk, others_in
from training.data.caption_files import CaptionFiles, Captions, Found, is_caption_file
from training.data.layout import MASKS, ImageFolder, find_folders

_MASK_SUFFIX = "-masklabel"
"""OneTrainer keeps the mask of ``a.png`` beside it as ``a-masklabel.png``."""

_OF_REPEATS = "relative to those of the other folders: a run's length is counted in steps"
_OF_REGULARIZATION = "for regularization, whose repeats are not followed: prior.weight says what it counts"
_OUTPUTS = ("concept.yaml", "dataset.json", "counts.json", "manifest.json", "preview.png")
_SHOWN = 3


@dataclass(frozen=True)
class RawPicture:
    """A picture file and its captions, without any where none is told; ``notes`` are for the user.

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
    """The pictures of a data set, how it was read, a sentence each, and what lies among them and is not used, with the reason."""

    pictures: tuple[RawPicture, ...]
    readings: tuple[str, ...]
    unused: tuple[tuple[Path, str], ...]


def find(dataset: Path) -> RawData:
    """The pictures of ``dataset`` by path, each with its captions and mask, those for regularization last.

    Raises ``BadInput`` when there is none to learn from, when two would share one caption, or when a mask has no picture.
    """
    folders = find_folders(dataset)
    captions = CaptionFiles(dataset)
    masks, images = _masks(dataset, folders)
    pictures = [
        _picture(image, folder, dataset, captions, masks) for folder in folders for image in images if image.parent == folder.path
    ]
    if masks:
        left = min(masks.values())
        raise BadInput(f"{left}: there is no picture of that name. Name a mask as its picture, or remove it.")
    own = [picture for picture in pictures if not picture.is_regularization]
    return RawData(
        tuple(_with_relative_repeats(own) + [picture for picture in pictures if picture.is_regularization]),
        tuple(_readings(dataset, folders, pictures)),
        tuple(_unused(dataset, folders, captions)),
    )


def _picture(image: Path, folder: ImageFolder, dataset: Path, captions: CaptionFiles, masks: dict[str, Path]) -> RawPicture:
    found = captions.of(image)
    if found is None and folder.caption is not None:
        found = Found((folder.caption,), image)
    notes = (
        tuple(f"{other.name} says something else than {found.file.name} and is not used" for other in found.others)
        if found
        else ()
    )
    return RawPicture(
        path=image,
        source=image.relative_to(dataset).as_posix(),
        captions=found.captions if found else (),
        caption_file=found.file if found and found.file != image else None,
        is_regularization=folder.is_regularization,
        mask=None if folder.is_regularization else masks.pop(image.stem, None),
        repeats=folder.repeats or 1,
        notes=notes,
    )


def _masks(dataset: Path, folders: Sequence[ImageFolder]) -> tuple[dict[str, Path], list[Path]]:
    """Picture's stem → mask, and the images that are none."""
    images = [image for folder in folders for image in folder.images(dataset)]
    beside = {image for image in images if image.stem.endswith(_MASK_SUFFIX)}
    stems = {image.stem.removesuffix(_MASK_SUFFIX): image for image in beside}
    inside = sorted((dataset / MASKS).iterdir()) if (dataset / MASKS).is_dir() else []
    apart = [path for path in inside if is_image_file(path)]
    for paths in (
        apart,
        *([image for image in images if image.parent == folder.path and image not in beside] for folder in folders),
    ):
        _check_names(paths)
    return {**stems, **{path.stem: path for path in apart}}, [image for image in images if image not in beside]


def _check_names(paths: Sequence[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise BadInput(
                f"{path}: has the same name as {stems[path.stem].name}, and one caption cannot serve two pictures. Rename one."
            )
        stems[path.stem] = path


def _with_relative_repeats(pictures: list[RawPicture]) -> list[RawPicture]:
    """The pictures, repeated only where they are not all repeated alike: a run's length is counted in steps."""
    common = gcd(*(picture.repeats for picture in pictures))
    return [replace(picture, repeats=max(1, picture.repeats // max(1, common))) for picture in pictures]


def _readings(dataset: Path, folders: Sequence[ImageFolder], pictures: Sequence[RawPicture]) -> list[str]:
    """How a data set that leaves a choice was read."""
    told = []
    for folder in folders:
        if folder.repeats is not None:
            what = _OF_REGULARIZATION if folder.is_regularization else f"{folder.repeats} repeats, {_OF_REPEATS}"
            told.append(f"{folder.path.relative_to(dataset)}/ is read as kohya's: {folder.caption!r}, {what}")
    return told + _reading_of_captions(pictures, dataset)


def _reading_of_captions(pictures: Sequence[RawPicture], dataset: Path) -> list[str]:
    told = []
    if several := [picture for picture in pictures if len(picture.captions) > 1]:
        told.append(
            f"{len(several)} captions have several lines, as {several[0].source}: each line is a caption of its own, and "
            "one is drawn each epoch (caption_lines: joined in concept.yaml makes them one)"
        )
    if empty := [picture for picture in pictures if picture.captions == ("",)]:
        told.append(f"{len(empty)} captions are empty, as that of {empty[0].source}")
    kinds = Counter(_kind(picture) for picture in pictures if picture.caption_file is not None)
    unusual = [f"{count} from {kind}" for kind, count in kinds.items() if kind != ".txt"]
    if unusual:
        told.append(f"captions are read {', '.join(unusual)}")
    if named := [picture for picture in pictures if picture.captions and picture.caption_file is None]:
        folders = sorted({str(picture.path.parent.relative_to(dataset)) for picture in named})
        told.append(
            f"{len(named)} images have no caption file and take what their folder is called: {', '.join(folders[:_SHOWN])}"
        )
    return told


def _kind(picture: RawPicture) -> str:
    file = picture.caption_file
    assert file is not None
    if file.stem not in (picture.path.stem, picture.path.name):
        return file.name
    return file.name.removeprefix(picture.path.stem) if file.name.startswith(picture.path.stem) else file.suffix


def _unused(dataset: Path, folders: Sequence[ImageFolder], captions: CaptionFiles) -> list[tuple[Path, str]]:
    """What lies among the pictures and is not used, each with the reason."""
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
                    "a caption beside a mask; captions belong beside the picture"
                    if is_beside_mask
                    else "a caption without a picture of its name"
                )
            found.append((other.path, reason))
    return found
