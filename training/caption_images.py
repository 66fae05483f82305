"""Optional, before entry point 1: caption every image that has no caption by a model. The user should check the captions."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import DONE, BadInput, command
from foundation.files import write_text
from training.data.concept import read_concept
from training.data.raw import RawImage, find_raw_images


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Caption one data set; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    concept = read_concept(arguments.dataset)  # 1. the trigger word
    images = find_raw_images(arguments.dataset).images  # 2. the images without a caption
    selected = [image for image in images if arguments.overwrite or not image.captions]
    if not selected:
        print(f"caption: all {len(images)} images have a caption")
        return DONE
    if not arguments.model.is_dir():
        raise BadInput(f"{arguments.model}: there is no captioning model. Put one there, or caption the images by hand.")
    _write_captions(selected, concept.trigger, arguments.captioner, arguments.model)  # 3. the captions
    print(
        f"caption: {len(selected)} captions written next to the images. Check them: what a caption names is not learned as part "
        "of the concept."
    )
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.caption_images",
        description="Caption every image in DATASET/raw that has no caption with a local model. The trigger word and the caption "
        "are written to a .txt file next to the image, to be checked by the user. Nothing is downloaded.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--model", type=Path, required=True, help="the captioning model's folder, such as models/blip-base")
    parser.add_argument("--captioner", default="blip", help="the kind of captioning model (default: blip)")
    parser.add_argument("--overwrite", action="store_true", help="also replace existing captions")
    return parser


def _write_captions(images: Sequence[RawImage], trigger: str, name: str, folder: Path) -> None:
    from tqdm import tqdm

    from foundation.offline import stay_offline
    from training.data import captioners
    from training.data.image import open_raw_image

    stay_offline()
    captioner = captioners.get(name)(folder)
    for image in tqdm(images, desc="caption", unit="image"):
        caption = captioner.describe(open_raw_image(image.path).image)
        # Regularization images do not show the concept, so their captions get no trigger.
        write_text(image.path.with_suffix(".txt"), f"{caption if image.is_regularization else f'{trigger}, {caption}'}\n")


if __name__ == "__main__":
    sys.exit(main())
