"""Find out how a base's weights and activations share what rounding to eight bits loses; write it for ZTHUMB_SALIENCE."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foundation.arguments import positive
from foundation.errors import DONE, BadInput

_KINDS = ("int8wo", "int8dq", "fp8wo", "fp8dq")
PROMPTS = {
    "mini": (
        "a photo of a blue ring on a red background",
        "a drawing of a white triangle at the right on a black background",
        "a photo of a large purple star on a green background",
        "a small yellow heart at the bottom on a blue background",
    ),
    "sdxl": (
        "a photo of an old fisherman in a blue coat, harbour, morning light",
        "a watercolour of a mountain village in winter",
        "a red sports car in front of a white building, wide angle",
        "a bowl of fruit on a wooden table, still life, oil painting",
        "a poster with the word OPEN in large letters",
        "two dogs running on a beach at sunset",
    ),
}
"""By the prompts that a base is evaluated with, others of the same kind."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``zthumb calibrate``."""
    parser.add_argument("base", metavar="BASE", help="the base, by any reference")
    parser.add_argument("--quantization", choices=_KINDS, default="int8dq", help="what it is for (default: int8dq)")
    parser.add_argument("--prompts", metavar="FILE", type=Path, help="one prompt a line (default: some of the base's kind)")
    parser.add_argument("--steps", type=positive, help="of each image (default: the base's own)")
    parser.add_argument("--device", default="auto", help="where, as in ZTHUMB_DEVICE (default: auto)")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="(default: models/BASE.QUANTIZATION.safetensors, next to the base)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Calibrate and write the factors; if none help, write nothing and say so."""
    from tqdm import tqdm

    from zthumb.cli.calibration import calibrate
    from zthumb.memory import salience
    from zthumb.sources.bases import find_base
    from zthumb.sources.catalogue import prompts_of

    base = find_base(arguments.base)  # 1. the base and its prompts
    prompts = _read(arguments.prompts) if arguments.prompts else PROMPTS[prompts_of(arguments.base)]
    with tqdm(total=1.0, desc="calibrate", bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]") as bar:
        found = calibrate(  # 2. the error of each exponent
            base, arguments.quantization, prompts, arguments.steps, arguments.device, lambda share: bar.update(share - bar.n)
        )
    for exponent, error in found.errors.items():
        print(f"exponent {exponent:.1f}: predictions are {error:.3%} off{'  ← chosen' if exponent == found.exponent else ''}")
    if not found.factors:
        print("calibrate: nothing is better than no factors at all, so nothing is written", file=sys.stderr)
        return DONE
    output = arguments.output or base.with_name(f"{base.name}.{arguments.quantization}.safetensors")
    salience.write(output, found.factors, found.base_sha256, arguments.quantization)  # 3. the file
    print(output)
    return DONE


def _read(file: Path) -> tuple[str, ...]:
    try:
        prompts = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read as text: {error}") from None
    if not prompts:
        raise BadInput(f"{file}: has no prompts; there must be one a line.")
    return prompts
