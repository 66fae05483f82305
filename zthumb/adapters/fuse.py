"""Merge adapters into the weights of a base: the result is a model of its own, as fast as the base; it cannot be unmerged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from foundation.files import atomic_directory
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.merged_effect import MergedEffect
from zthumb.checkpoints.published import write_published_names
from zthumb.sources.local import family_of

if TYPE_CHECKING:
    import torch


def fuse(base: Path, weighted: Sequence[tuple[Adapter, float]], target: Path) -> str | None:
    """Write the base in ``base`` with the ``weighted`` adapters in its weights to ``target``, in the base's precision.

    Returns a warning where rounding to that precision takes much of them, else None.

    Raises ``BadInput`` for a DoRA together with another adapter: its change depends on the weights that it is applied to.
    """
    if len(weighted) > 1 and any(adapter.has_magnitudes for adapter, _ in weighted):
        raise BadInput("a DoRA cannot be merged with another adapter: its change depends on the weights that it is applied to.")
    import torch

    family = families.get(family_of(base))
    pipeline = family.load(base, torch.float32, torch.device("cpu"))
    adapted = {component: getattr(pipeline, component) for component in family.adapted_components}
    others = [
        component for component in family.components if component not in adapted and (base / component / "config.json").is_file()
    ]
    names = [f"adapter-{number}" for number in range(len(weighted))]
    for name, (adapter, _) in zip(names, weighted, strict=True):
        apply.inject(adapted, adapter, name)
    apply.set_weights(apply.adapted_modules(adapted), {name: weight for name, (_, weight) in zip(names, weighted, strict=True)})
    denoiser_precision = _precision(base / family.denoiser_component)
    effect = MergedEffect(lambda weight: weight.to(denoiser_precision).float())
    apply.merge(adapted, effect)
    for component in (*adapted, *others):
        getattr(pipeline, component).to(_precision(base / component))
    with atomic_directory(target) as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
        write_published_names(folder)
    return effect.warning


def _precision(folder: Path) -> torch.dtype:
    """Return the dtype of a component's weights in ``folder``: of the file without a variant suffix, where there are several."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    with safe_open(files[0], "pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype
