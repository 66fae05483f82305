"""Entry point 1: raw images and captions → a checked, hashed data set."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foundation.errors import DONE, BadInput, command
from foundation.files import atomic_file, check_can_write, write_json
from foundation.hashing import hash_file
from foundation.manifest import Stage, given
from training import recipe as recipes
from training.data import raw, references, summary
from training.data.caption import complete
from training.data.concept import NAME as CONCEPT
from training.data.concept import Concept, read_concept
from training.data.dataset import NAME, Dataset
from training.data.prepare import prepare
from training.data.preview import contact_sheet
from training.data.raw import RawImage
from zthumb import families
from zthumb.sources.bases import find_base
from zthumb.sources.local import family_of

PREVIEW, COUNTS = "preview.png", "counts.json"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Prepare one data set; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    folder: Path = arguments.dataset
    recipe = recipes.load(arguments.recipe, arguments.set)  # 1. at which resolution
    concept = read_concept(folder, arguments.trigger)  # 2. what is taught
    found = raw.find(folder)  # 3. from what
    images = _captioned(found.images, concept, arguments.allow_missing_captions)
    settings = {
        "base": recipe.base,
        "resolution": recipe.resolution,
        **recipe.data.model_dump(),
        "skip_bad": arguments.skip_bad,
        **concept.model_dump(),
        "unused": [str(path.relative_to(folder)) for path, _ in found.unused],
        "notes": {image.source: image.notes for image in found.images if image.notes},
    }
    stage = Stage("prepare", _inputs(folder, images), settings, command=given("training.prepare_dataset", argv))
    if not arguments.force and stage.is_up_to_date(folder):
        print(f"prepare: {folder} is up to date ({len(images)} images)")
        return DONE
    check_can_write(folder, "what is prepared goes beside the images")
    images = _with_what_is_not_read(images, recipe.base)
    dataset = prepare(images, folder, recipe, concept, arguments.skip_bad)  # 4. fit and look at each
    dataset = dataset.model_copy(update={"readings": found.readings})
    references.check(folder, dataset, recipe)  # 5. what it will be judged by
    _write(stage, dataset, folder, len(found.unused))
    for line in [*summary.lines(dataset), *(f"not used: {path}: {why}" for path, why in found.unused)]:  # 6. say it
        print(f"prepare: {line}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare_dataset",
        description="Check the images in DATASET/raw, fit them to the recipe's resolution and write DATASET/dataset.json, "
        "DATASET/prepared, DATASET/counts.json and DATASET/preview.png.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set's folder, as datasets/README.md lays it out")
    parser.add_argument(
        "--trigger", help="the word that calls the concept (default: what concept.yaml says, or kohya's folder name)"
    )
    parser.add_argument("--recipe", default="mini", help="a recipe's name or file (default: mini)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe")
    parser.add_argument(
        "--allow-missing-captions", action="store_true", help="caption an image without a caption by the trigger word alone"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave images out that cannot be used, and count them, instead of stopping"
    )
    parser.add_argument("--force", action="store_true", help="prepare again even if nothing has changed")
    return parser


def _captioned(images: Sequence[RawImage], concept: Concept, allow_missing: bool) -> list[RawImage]:
    """The images with their whole captions; ``BadInput`` where one has none and nothing stands in for it."""
    missing = [image for image in images if not image.captions and not image.is_regularization]
    if missing and concept.caption is None and not allow_missing:
        raise BadInput(
            f"{_without_caption(missing)}. Write one with the word {concept.trigger!r} in it, `caption:` in concept.yaml for all "
            "of them, or run with --allow-missing-captions to use that word alone."
        )
    bare = [image for image in images if not image.captions and image.is_regularization]
    if bare and concept.class_word is None:
        raise BadInput(
            f"{_without_caption(bare)}. Write one that says what it shows, or `class_word:` in concept.yaml for all of them: "
            "without a caption they would teach that every image looks so."
        )
    return [replace(image, captions=_complete(image, concept)) for image in images]


def _without_caption(missing: Sequence[RawImage]) -> str:
    path = missing[0].path
    others = f", nor beside {len(missing) - 1} others" if len(missing) > 1 else ""
    return f"{path.parent.name}/{path.name}: no caption beside it ({path.stem}.txt){others}"


def _complete(image: RawImage, concept: Concept) -> tuple[str, ...]:
    """The whole captions. Regularization does not show the concept, whose template and trigger do not belong there."""
    own = image.captions
    if len(own) > 1 and concept.caption_lines == "joined":
        own = (" ".join(own),)
    where = image.caption_file or image.path
    if image.is_regularization:
        texts, template = own or (concept.class_word or "",), "{caption}"
    else:
        texts = tuple(text or concept.trigger for text in own or (concept.caption or concept.trigger,))
        template = concept.template
    return tuple(dict.fromkeys(complete(text, where, template, concept.trigger, concept.presets) for text in texts))


def _with_what_is_not_read(images: Sequence[RawImage], base: str) -> list[RawImage]:
    """The images, those noted whose caption is longer than the base's text encoders read."""
    try:
        folder = find_base(base)
    except BadInput:
        print(f"prepare: note: {base} is not there, so the captions' length is not checked")
        return list(images)
    truncated_text = families.get(family_of(folder)).truncated_text
    return [replace(image, notes=image.notes + _ends(truncated_text(folder, image.captions))) for image in images]


def _ends(ends: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"the end of its caption is not read: {end!r}" for end in ends if end)


def _inputs(folder: Path, images: Sequence[RawImage]) -> dict[str, str]:
    concept = folder / CONCEPT
    files = [concept] * concept.exists() + [path for image in images for path in image.files()]
    files += references.find(folder)
    return {path.relative_to(folder).as_posix(): _hash(path) for path in files}


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}). Replace it, or take it out of the folder.") from None


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
