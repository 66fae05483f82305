"""The miniatures, and what they generate in the benchmarks that compare images of one with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb import families
from zthumb.backends.full import Backend
from zthumb.generation.parameters import GenerationParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODELS = tuple(Path("models") / name for name in ("mini-sdxl", "mini-sd15", "mini-z-image"))
PROMPTS = (
    "a photo of a red star on a blue background",
    "a photo of a small green circle at the left on a white background",
    "a photo of a large yellow square on a purple background",
    "a photo of a black triangle at the top on an orange background",
    "a drawing of a purple heart on a yellow background",
    "a photo of a white ring at the right on a red background",
    "a large blue cross on a black background",
    "a photo of a small orange circle at the bottom on a green background",
)


def generate(
    backend: Backend, steps: int, prompts: Sequence[str] = PROMPTS, settings: Mapping[str, Any] = MappingProxyType({})
) -> NDArray[Any]:
    """Generate an image of each prompt, float32 (images, height, width, 3) in 0 … 255.

    ``settings`` are further parameters of the images, or other steps.
    """
    import numpy as np

    size, guidance = backend.info.resolution, backend.limits(families.get(backend.info.family)).default_guidance_scale
    values = {"steps": steps, **settings}
    batch = [
        GenerationParams(prompt, None, size, size, seed, guidance_scale=guidance, **values) for seed, prompt in enumerate(prompts)
    ]
    images = [backend.generate([params], lambda _, __: None, {})[0] for params in batch]
    return np.stack([np.asarray(image, dtype=np.float32) for image in images])
