"""The peak of memory that generating one image of a miniature really takes."""

from pathlib import Path

import torch

from zthumb import families
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.generation.parameters import GenerationParams
from zthumb.memory.estimate import NO_BLOCKS, ImageShape, estimate
from zthumb.memory.peak_memory import AllocatorPeak
from zthumb.memory.plan import Plan, Subject, predict
from zthumb.memory.residency import Placement
from zthumb.sources.local import family_of

EDGE, STEPS = 128, 2
# As long as a prompt can be: shorter ones take less.
PROMPT = "a photo of a medium red star in the center on a blue background, " * 8


def measure(base: Path, placement: Placement, swaps_blocks: bool = False) -> tuple[int, Plan]:
    """Return the bytes that the allocator gave out at most, weights among them, and what was predicted.

    With ``swaps_blocks`` every block is on the device only while it computes.
    """
    family, device = families.get(family_of(base)), torch.device("cpu")
    scale = family.limits.default_guidance_scale
    shape = ImageShape(EDGE, EDGE, guidance_scale=scale)
    blocks = estimate(family, base, shape, torch.float32).blocks_to_swap(0) if swaps_blocks else NO_BLOCKS
    backend = Backend(WeightsLocation(base, base), Options(device="cpu", placement=placement, blocks_to_swap=blocks))
    params = GenerationParams(PROMPT, None, EDGE, EDGE, 7, STEPS, scale)
    weights = 0
    if placement == "resident":
        models = (getattr(backend.pipeline, name) for name in family.components)
        weights = sum(each.nbytes for model in models if isinstance(model, torch.nn.Module) for each in model.parameters())
    with AllocatorPeak(device) as memory, backend.apply_lora([]) as applied:
        backend.generate([params], lambda *_: None, applied.learned_tokens)
    return weights + memory.peak, predict(Subject(family, base, torch.float32, "cpu"), shape, placement, "none", blocks)
