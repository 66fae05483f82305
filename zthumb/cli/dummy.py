"""Try a base on this machine with random weights of its shapes, and nothing downloaded: memory, flow, time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import DONE, BadInput

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily

_GIB = 2**30
_BYTES: Mapping[str, tuple[float, float]] = {"fp32": (4, 4), "bf16": (2, 2), "int8": (1, 2), "nf4": (0.5 + (1 + 4 / 256) / 64, 2)}
"""By precision the bytes of a number of linear layers and of any other.

4-bit blocks of 64 numbers have a scale of a byte, and 256 of those scales one of fp32 (arXiv 2305.14314).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``zthumb dummy``."""
    parser.add_argument("base", metavar="BASE", help="a base of the catalogue, a repository of the hub, or a base's folder")
    parser.add_argument("--generate", action="store_true", help="generate an image, and print the time and memory it took")
    parser.add_argument("--device", help="where, as in ZTHUMB_DEVICE (default: auto)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of the weights (default: bf16)")
    parser.add_argument("--width", type=int, help="of the image in pixels (default: the base's own)")
    parser.add_argument("--height", type=int, help="of the image in pixels (default: the base's own)")
    parser.add_argument("--steps", type=int, help="of the image (default: 4)")


def run(arguments: argparse.Namespace) -> int:
    """Print the bytes of each component in each precision, and generate an image if asked to."""
    from zthumb import families
    from zthumb.sources.bases import known_configuration
    from zthumb.sources.local import family_of

    given = [name for name in ("device", "precision", "width", "height", "steps") if getattr(arguments, name) is not None]
    if given and not arguments.generate:
        raise BadInput(f"--{given[0]}: is of the image that --generate makes. Add --generate, or leave it out.")
    folder = known_configuration(arguments.base)
    family = families.get(family_of(folder))
    print(_table(family, folder))
    if arguments.generate:
        _generate(family, folder, arguments)
    return DONE


def _table(family: ModelFamily, folder: Path) -> str:
    """Return the exact sizes of the weights, counted on the meta device."""
    from zthumb.families.shared import random_weights

    counts = random_weights.parameters(family, folder)
    lines = [f"{'':16}{'weights':>16}" + "".join(f"{f'{name} GiB':>11}" for name in _BYTES)]
    total = {"linear": sum(count["linear"] for count in counts.values()), "others": sum(c["others"] for c in counts.values())}
    for name, count in [*counts.items(), ("all", total)]:
        sizes = (count["linear"] * linear + count["others"] * others for linear, others in _BYTES.values())
        lines.append(f"{name:16}{sum(count.values()):>16,}" + "".join(f"{size / _GIB:>11.2f}" for size in sizes))
    return "\n".join(lines)


def _generate(family: ModelFamily, folder: Path, arguments: argparse.Namespace) -> None:
    import torch

    from foundation.device import choose_device, peak_bytes, reset_peak_bytes
    from zthumb.families.base import ImageSize
    from zthumb.families.shared import random_weights

    device, edge = choose_device(arguments.device or "auto"), family.resolution(folder)
    height, width, steps = arguments.height or edge, arguments.width or edge, arguments.steps or 4
    if height % family.size_multiple or width % family.size_multiple:
        raise BadInput(f"{width} x {height}: width and height of {family.name} are multiples of {family.size_multiple}.")
    size = ImageSize.whole(height, width)
    precision = arguments.precision or "bf16"
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    reset_peak_bytes(device)
    started = time.perf_counter()
    pipeline = random_weights.load(family, folder, dtype, device)
    loaded = time.perf_counter()
    generators = [torch.Generator().manual_seed(0)]
    scale = family.limits.default_guidance_scale
    latents = family.sample(pipeline, ["a red star"], size, steps, scale, generators)
    denoised = time.perf_counter()
    image = family.decode_latents(pipeline, latents)
    ended = time.perf_counter()
    print(f"an image of {image.shape[-1]} x {image.shape[-2]} in {steps} steps on {device.type}, {precision}")
    print(f"weights {loaded - started:.1f} s, denoising {denoised - loaded:.1f} s, decoding {ended - denoised:.1f} s")
    print(f"peak of memory {peak_bytes(device) / _GIB:.2f} GiB")
