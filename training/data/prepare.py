"""Open, check and fit every raw image, in several processes."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from foundation.errors import BadInput
from foundation.files import atomic_directory
from foundation.fingerprint import Fingerprint, fingerprint
from foundation.hashing import hash_file
from foundation.image_reader import BadImage
from training.data.buckets import Size, nearest_bucket
from training.data.concept import Concept
from training.data.dataset import PREPARED, Dataset, Entry, LeftOut
from training.data.duplicates import group_duplicates
from training.data.fit import MAX_UPSCALE, fit_image
from training.data.image import open_raw_image
from training.data.layout import RAW
from training.data.quality import quality_flags
from training.data.raw import RawImage
from training.data.split import choose_holdout
from training.recipe import Recipe

IMAGES_PER_WORKER = 16
_REMEDY = "Replace it, or run with --skip-bad to leave it out."


@dataclass(frozen=True)
class _PreparedImage:
    entry: Entry
    fingerprint: Fingerprint


def prepare_images(images: Sequence[RawImage], folder: Path, recipe: Recipe, concept: Concept, skip_bad: bool) -> Dataset:
    """Fit ``images`` and write them to ``folder``/prepared, which is replaced only after all of them were processed.

    Raises ``BadInput`` for the first image that cannot be used, unless ``skip_bad`` leaves bad ones out, and if none can be used.
    """
    workers = max(1, min(os.cpu_count() or 1, len(images) // IMAGES_PER_WORKER))
    with atomic_directory(folder / PREPARED) as temporary, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        prepare_one = partial(_prepare_one, target=temporary, recipe=recipe, background=concept.background)
        results = list(tqdm(pool.map(prepare_one, images), desc="prepare", unit="image", total=len(images)))
        prepared = [result for result in results if isinstance(result, _PreparedImage)]
        left_out = tuple(result for result in results if isinstance(result, LeftOut))
        if left_out and not skip_bad:
            more = f" {len(left_out) - 1} more cannot be used either." if len(left_out) > 1 else ""
            raise BadInput(f"{folder / left_out[0].source}: {left_out[0].reason} {_REMEDY}{more}")
        if not any(image.entry.role == "train" for image in prepared):
            raise BadInput(f"{folder}: none of the images can be used.")
    entries, duplicates = _split(prepared, recipe.data.holdout)
    return Dataset(
        trigger=concept.trigger,
        background=concept.background,
        resolution=recipe.resolution,
        entries=entries,
        left_out=left_out,
        alike=duplicates,
    )


def _prepare_one(image: RawImage, target: Path, recipe: Recipe, background: str) -> _PreparedImage | LeftOut:
    try:
        opened = open_raw_image(image.path, recipe.resolution // MAX_UPSCALE, background)
        mask = _open_mask(image.mask, opened.image.size) if image.mask else None
    except BadImage as error:
        is_mask = error.path == image.mask
        return LeftOut(source=f"{error.path.parent.name}/{error.path.name}" if is_mask else image.source, reason=error.reason)
    fitted = fit_image(opened.image, _target_size(opened.image, recipe), recipe.data.crop, mask)
    name = _prepared_name(image)
    mask_name = f"masks/{name}" if fitted.mask else None
    entry = Entry(
        file=f"{PREPARED}/{name}",
        sha256=_save(fitted.image, target / name),
        source=image.source,
        source_sha256=hash_file(image.path),
        caption=image.captions[0],
        alternatives=image.captions[1:],
        repeats=image.repeats,
        role="regularization" if image.is_regularization else "train",
        size=(fitted.image.height, fitted.image.width),
        original_size=fitted.original_size,
        crop=fitted.crop,
        mask=f"{PREPARED}/{mask_name}" if mask_name else None,
        mask_sha256=_save(fitted.mask, target / mask_name) if fitted.mask and mask_name else None,
        notes=image.notes + opened.notes + quality_flags(fitted.image) + _mask_notes(fitted.mask),
    )
    return _PreparedImage(entry, fingerprint(fitted.image))


def _prepared_name(image: RawImage) -> str:
    """Return the path of the fitted image below prepared/: its path in the data set, without ``raw/``."""
    path = Path(image.source).with_suffix(".png")
    return Path(*path.parts[1:]).as_posix() if path.parts[0] == RAW else path.as_posix()


def _open_mask(path: Path, size: tuple[int, int]) -> Image.Image:
    mask = open_raw_image(path, background="black").image.convert("L")
    if mask.size != size:
        raise BadImage(path, f"{mask.width} × {mask.height} pixels, but its image has {size[0]} × {size[1]}.")
    return mask


def _mask_notes(mask: Image.Image | None) -> tuple[str, ...]:
    return ("its mask is black throughout: nothing of it is learned",) if mask and not mask.getbbox() else ()


def _target_size(image: Image.Image, recipe: Recipe) -> Size:
    if not recipe.data.buckets:
        return recipe.resolution, recipe.resolution
    return nearest_bucket(image.height, image.width, recipe.resolution)


def _save(image: Image.Image, path: Path) -> str:
    """Save an image and return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return hash_file(path)


def _split(prepared: Sequence[_PreparedImage], fraction: float) -> tuple[tuple[Entry, ...], tuple[tuple[str, ...], ...]]:
    """Return the entries, about a ``fraction`` of them held out, and the sources of each group of duplicates."""
    concept_images = [image for image in prepared if image.entry.role == "train"]
    groups = group_duplicates([image.fingerprint for image in concept_images])
    holdout = choose_holdout(groups, [image.entry.source_sha256 for image in concept_images], fraction)
    holdout_sources = {concept_images[index].entry.source for index in holdout}
    entries = tuple(
        image.entry.model_copy(update={"role": "holdout"}) if image.entry.source in holdout_sources else image.entry
        for image in prepared
    )
    duplicates = tuple(tuple(concept_images[index].entry.source for index in group) for group in groups if len(group) > 1)
    return entries, duplicates
