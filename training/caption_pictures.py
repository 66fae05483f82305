"""Beside entry point 1: a caption by a model for every picture that has none, to be read over by its owner."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import DONE, BadInput, command
from foundation.files import write_text
from training.data import raw
from training.data.concept import read_concept
from training.data.raw import RawPicture


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Caption one data set; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    concept = read_concept(arguments.dataset)  # 1. the word that stands for the concept
    pictures = raw.find(arguments.dataset).pictures  # 2. the pictures without a caption
    wanted = [picture for picture in pictures if arguments.overwrite or not picture.captions]
    if not wanted:
        print(f"caption: every one of {len(pictures)} pictures has a caption")
        return DONE
    if not arguments.model.is_dir():
        raise BadInput(f"{arguments.model}: no captioning model is there. Put one there, or caption the pictures by hand.")
    _describe(wanted, concept.trigger, arguments.captioner, arguments.model)  # 3. in words
    print(f"caption: {len(wanted)} captions written beside the pictures. Read them over: what a caption names is not learned.")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.caption_pictures",
        description="Describe every picture in DATASET/raw that has no caption by a model on this disk, and write the caption "
        "with the trigger word in front beside it, as a .txt file to be read over. Nothing is downloaded.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--model", type=Path, required=True, help="the captioning model's folder, as models/blip-base")
    parser.add_argument("--captioner", default="blip", help="what kind of model it is (default: blip)")
    parser.add_argument("--overwrite", action="store_true", help="describe pictures anew that have a caption")
    return parser


def _describe(pictures: Sequence[RawPicture], trigger: str, name: str, folder: Path) -> None:
    from tqdm import tqdm

    from foundation.offline import stay_offline
    from training.data import captioners
    from training.data.picture import open_picture

    stay_offline()
    captioner = captioners.get(name)(folder)
    for picture in tqdm(pictures, desc="caption", unit="picture"):
        words = captioner.describe(open_picture(picture.path).picture)
        # What must stay as it is does not show the concept.
        write_text(picture.path.with_suffix(".txt"), f"{words if picture.is_regularization else f'{trigger}, {words}'}\n")


if __name__ == "__main__":
    sys.exit(main())
