"""The miniatures, and what they generate in the benchmarks that compare images of one with another."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.errors import DONE
from foundation.files import write_json
from foundation.manifest import package_versions, platform_info
from foundation.offline import stay_offline
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


def measure_models(
    name: str,
    description: str | None,
    argv: Sequence[str] | None,
    measure: Callable[[Path, int], list[dict[str, Any]]],
    images: int,
    steps: int,
) -> int:
    """Parse ``argv``, ``measure`` each model so many rounds, write ``outputs/bench/NAME.json``; return exit code 0.

    Of each model ``images`` are generated in ``steps``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.serving.{name}", description=description)
    parser.add_argument("--models", nargs="+", type=Path, default=MODELS, help="the bases (default: every miniature)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds; times are medians (default: 3)")
    arguments = parser.parse_args(argv)
    stay_offline()
    models = [{"model": model.name, "rows": measure(model, arguments.rounds)} for model in arguments.models]
    figures = {"models": models, "images": images, "steps": steps}
    out = Path("outputs/bench") / f"{name}.json"
    write_json(out, {**figures, "platform": platform_info(), "packages": package_versions()})
    print(out)
    return DONE
