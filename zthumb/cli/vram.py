"""State what generating takes of a card's memory, before anything is downloaded or loaded, and how to keep within a budget."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.arguments import positive
from foundation.errors import DONE, BadInput

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily
    from zthumb.memory.estimate import Estimate, ImageShape
    from zthumb.memory.plan import Plan

_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``zthumb vram``."""
    parser.add_argument("base", metavar="BASE", nargs="?", help="a base of the catalogue, a repository of the hub, or a folder")
    parser.add_argument("--family", help="instead of BASE: the best known base of a family")
    parser.add_argument("--width", type=positive, help="in pixels (default: the base's own)")
    parser.add_argument("--height", type=positive, help="in pixels (default: the base's own)")
    parser.add_argument("--batch", type=positive, default=1, help="images at once (default: 1)")
    parser.add_argument("--cfg", type=float, help="guidance scale; with guidance there are two predictions (default: the base's)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="bf16", help="of the weights (default: bf16)")
    parser.add_argument("--budget", help="choose how to generate within it: as 12GB, or auto for most of what is free here")
    parser.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="the kind of device to plan for (default: cuda)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the memory of each component and of each way to generate; with a budget, the way that is chosen."""
    import torch

    from foundation.device import choose_device
    from zthumb.memory import budget
    from zthumb.memory.estimate import ImageShape, estimate
    from zthumb.memory.plan import Subject, choose, plans

    family, folder = _base(arguments.base, arguments.family)
    edge = family.resolution(folder)
    shape = ImageShape(arguments.height or edge, arguments.width or edge, arguments.batch, arguments.cfg)
    _check_size(shape, family)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[arguments.precision]
    limit = budget.parse(arguments.budget, choose_device()) if arguments.budget else 0
    candidates = plans(Subject(family, folder, dtype, arguments.device), shape, budget=limit)
    print(f"{folder.name}, {shape.width} x {shape.height} pixels, {shape.images} at once, {arguments.precision}\n")
    print("\n".join(_component_lines(estimate(family, folder, shape, dtype, device_type=arguments.device))), end="\n\n")
    print("\n".join(_plan_lines(candidates)))
    if arguments.budget:
        chosen = choose(candidates, limit)
        print(f"\nwithin {budget.shown(limit)}: {chosen.words}; {budget.shown(chosen.peak)} at the most")
    return DONE


def _base(reference: str | None, name: str | None) -> tuple[ModelFamily, Path]:
    from zthumb import families
    from zthumb.sources.bases import known_configuration
    from zthumb.sources.local import family_of

    if (reference is None) == (name is None):
        raise BadInput("vram: name either a base or a family: zthumb vram flux1-dev, or zthumb vram --family flux.")
    if reference is not None:
        folder = known_configuration(reference)
        return families.get(family_of(folder)), folder
    assert name is not None
    family = families.get(name)
    return family, family.references[0]


def _check_size(shape: ImageShape, family: ModelFamily) -> None:
    if shape.height % family.size_multiple or shape.width % family.size_multiple:
        raise BadInput(
            f"{shape.width} x {shape.height}: width and height of {family.name} are multiples of {family.size_multiple}."
        )


def _component_lines(estimated: Estimate) -> list[str]:
    lines = [f"{'':18}{'weights MiB':>13}{'work MiB':>11}"]
    for name, weights in estimated.weights.items():
        lines.append(f"{name:18}{weights / _MIB:>13,.0f}{estimated.activations[name] / _MIB:>11,.0f}")
    return lines


def _plan_lines(candidates: Sequence[Plan]) -> list[str]:
    lines = [f"{'peak MiB':>10}{'main memory MiB':>17}{'s/image more':>14}   way"]
    for plan in candidates:
        lines.append(f"{plan.peak / _MIB:>10,.0f}{plan.main_memory / _MIB:>17,.0f}{plan.transfer_s:>14.1f}   {plan.words}")
    return lines
