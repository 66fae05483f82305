"""Beside entry point 1: a caption by a model for every image that has none, to be read over by its owner."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import DONE, BadInput, command
from foundation.files import write_text
from training.data import raw
from training.data.concept import read_concept
from training.data.raw import RawImage


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Caption one data set; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    concept = read_concept(arguments.dataset)  # 1. the word that stands for the concept
    images = raw.find(arguments.dataset).images  # 2. the images without a caption
    wanted = [image for image in images if arguments.overwrite or not image.captions]
    if not wanted:
        print(f"caption: every one of {len(images)} images has a caption")
        return DONE
    if not arguments.model.is_dir():
        raise BadInput(f"{arguments.model}: no captioning model is there. Put one there, or caption the images by hand.")
    _describe(wanted, concept.trigger, arguments.captioner, arguments.model)  # 3. in words
    print(f"caption: {len(wanted)} captions written beside the images. Read them over: what a caption names is not learned.")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.caption_images",
        description="Describe every image in DATASET/raw that has no caption by a model on this disk, and write the caption "
        "with the trigger word in front beside it, as a .txt file to be read over. Nothing is downloaded.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--model", type=Path, required=True, help="the captioning model's folder, as models/blip-base")
    parser.add_argument("--captioner", default="blip", help="what kind of model it is (default: blip)")
    parser.add_argument("--overwrite", action="store_true", help="describe images anew that have a caption")
    return parser


def _describe(images: Sequence[RawImage], trigger: str, name: str, folder: Path) -> None:
    from tqdm import tqdm

    from foundation.offline import stay_offline
    from training.data import captioners
    from training.data.image import open_raw_image

    stay_offline()
    captioner = captioners.get(name)(folder)
    for image in tqdm(images, desc="caption", unit="image"):
        words = captioner.describe(open_raw_image(image.path).image)
        # What must stay as it is does not show the concept.
        write_text(image.path.with_suffix(".txt"), f"{words if image.is_regularization else f'{trigger}, {words}'}\n")


if __name__ == "__main__":
    sys.exit(main())
