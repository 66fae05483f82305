"""Entry point 1: turn raw images and captions into a checked, hashed data set."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foundation.errors import DONE, BadInput, command
from foundation.files import atomic_file, check_can_write, write_json
from foundation.hashing import hash_file
from foundation.manifest import Stage, command_line
from training import recipe as recipes
from training.data.caption import complete_caption
from training.data.concept import NAME as CONCEPT
from training.data.concept import Concept, read_concept
from training.data.dataset import NAME, Dataset
from training.data.dataset_summary import summary_lines
from training.data.prepare import prepare_images
from training.data.preview import contact_sheet
from training.data.raw import RawImage, find_raw_images
from training.data.references import check_references, find_references
from zthumb import families
from zthumb.sources.bases import find_base
from zthumb.sources.local import family_of

PREVIEW, COUNTS = "preview.png", "counts.json"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Prepare one data set; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    folder: Path = arguments.dataset
    recipe = recipes.load(arguments.recipe, arguments.set)  # 1. the resolution
    concept = read_concept(folder, arguments.trigger)  # 2. the concept
    raw = find_raw_images(folder)  # 3. the images and captions
    images = _complete_captions(raw.images, concept, arguments.allow_missing_captions)
    settings = {
        "base": recipe.base,
        "resolution": recipe.resolution,
        **recipe.data.model_dump(),
        "skip_bad": arguments.skip_bad,
        **concept.model_dump(),
        "unused": [str(path.relative_to(folder)) for path, _ in raw.unused],
        "notes": {image.source: image.notes for image in raw.images if image.notes},
    }
    stage = Stage("prepare", _inputs(folder, images), settings, command=command_line("training.prepare_dataset", argv))
    if not arguments.force and stage.is_up_to_date(folder):
        print(f"prepare: {folder} is up to date ({len(images)} images)")
        return DONE
    check_can_write(folder, "the prepared images are written next to the raw ones")
    images = _note_truncated_captions(images, recipe.base)
    dataset = prepare_images(images, folder, recipe, concept, arguments.skip_bad)  # 4. fit and check each image
    dataset = dataset.model_copy(update={"readings": raw.readings})
    check_references(folder, dataset, recipe)  # 5. the images that the adapter will be evaluated against
    _write(stage, dataset, folder, len(raw.unused))
    unused_lines = (f"not used: {path}: {reason}" for path, reason in raw.unused)
    for line in [*summary_lines(dataset), *unused_lines]:  # 6. the summary
        print(f"prepare: {line}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare_dataset",
        description="Check the images in DATASET/raw, fit them to the recipe's resolution and write DATASET/dataset.json, "
        "DATASET/prepared, DATASET/counts.json and DATASET/preview.png.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set's folder, laid out as in datasets/README.md")
    parser.add_argument("--trigger", help="the trigger word (default: the one in concept.yaml or in kohya's folder name)")
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe")
    parser.add_argument(
        "--allow-missing-captions", action="store_true", help="use the trigger word alone for images without a caption"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out and count images that cannot be used, instead of stopping"
    )
    parser.add_argument("--force", action="store_true", help="prepare again even if nothing has changed")
    return parser


def _complete_captions(images: Sequence[RawImage], concept: Concept, allow_missing: bool) -> list[RawImage]:
    """Return the images with completed captions; raises ``BadInput`` if one has no caption and there is no default for it."""
    missing = [image for image in images if not image.captions and not image.is_regularization]
    if missing and concept.caption is None and not allow_missing:
        raise BadInput(
            f"{_without_caption(missing)}. Write one that contains {concept.trigger!r}, write `caption:` into concept.yaml for "
            "all of them, or run with --allow-missing-captions to use the trigger word alone."
        )
    missing = [image for image in images if not image.captions and image.is_regularization]
    if missing and concept.class_word is None:
        raise BadInput(
            f"{_without_caption(missing)}. Write one that describes the image, or write `class_word:` into concept.yaml for all "
            "of them: without captions, the model would learn that every image looks like them."
        )
    return [replace(image, captions=_completed(image, concept)) for image in images]


def _without_caption(missing: Sequence[RawImage]) -> str:
    path = missing[0].path
    others = f", nor next to {len(missing) - 1} others" if len(missing) > 1 else ""
    return f"{path.parent.name}/{path.name}: no caption next to it ({path.stem}.txt){others}"


def _completed(image: RawImage, concept: Concept) -> tuple[str, ...]:
    """Return the completed captions. Regularization images do not show the concept, so they get neither template nor trigger."""
    captions = image.captions
    if len(captions) > 1 and concept.caption_lines == "joined":
        captions = (" ".join(captions),)
    source = image.caption_file or image.path
    if image.is_regularization:
        texts, template = captions or (concept.class_word or "",), "{caption}"
    else:
        texts = tuple(text or concept.trigger for text in captions or (concept.caption or concept.trigger,))
        template = concept.template
    return tuple(dict.fromkeys(complete_caption(text, source, template, concept.trigger, concept.presets) for text in texts))


def _note_truncated_captions(images: Sequence[RawImage], base: str) -> list[RawImage]:
    """Return the images with a note on each caption that is longer than the base's text encoders can read."""
    try:
        folder = find_base(base)
    except BadInput:
        print(f"prepare: note: {base} is not on this disk, so the length of the captions is not checked")
        return list(images)
    truncated_text = families.get(family_of(folder)).truncated_text
    return [replace(image, notes=image.notes + _truncation_notes(truncated_text(folder, image.captions))) for image in images]


def _truncation_notes(endings: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"the end of its caption is not read: {ending!r}" for ending in endings if ending)


def _inputs(folder: Path, images: Sequence[RawImage]) -> dict[str, str]:
    concept = folder / CONCEPT
    files = [concept] * concept.exists() + [path for image in images for path in image.files()]
    files += find_references(folder)
    return {path.relative_to(folder).as_posix(): _hash(path) for path in files}


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}). Replace it, or remove it from the folder.") from None


def _write(stage: Stage, dataset: Dataset, folder: Path, unused: int) -> None:
    write_json(folder / NAME, dataset.model_dump(mode="json"))
    with atomic_file(folder / PREVIEW) as path:
        contact_sheet(folder, dataset.entries).save(path, "png")
    write_json(folder / COUNTS, {**dataset.counts(), "not used": unused})
    outputs = {name: digest for entry in dataset.entries for name, digest in entry.files().items()}
    outputs |= {name: hash_file(folder / name) for name in (NAME, PREVIEW, COUNTS)}
    stage.write_manifest(folder, outputs)


if __name__ == "__main__":
    sys.exit(main())
