"""A base with adapters worked into its weights: a model of its own, as fast as the base; they cannot be taken out again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from foundation.files import atomic_directory
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.naming.published import write_published_names
from zthumb.sources.local import family_of

if TYPE_CHECKING:
    import torch


def fuse(base: Path, weighted: Sequence[tuple[Adapter, float]], target: Path) -> None:
    """Write the base in ``base`` with the ``weighted`` adapters in its weights to ``target``, in the precision it has.

    Raises ``BadInput`` for a DoRA beside another adapter: what it changes depends on the weights below it.
    """
    if len(weighted) > 1 and any(adapter.has_magnitudes for adapter, _ in weighted):
        raise BadInput("a DoRA cannot be merged with another adapter: what it changes depends on the weights below it.")
    import torch

    family = families.get(family_of(base))
    pipeline = family.load(base, torch.float32, torch.device("cpu"))
    parts = {part: getattr(pipeline, part) for part in family.adapted_components}
    others = [part for part in family.parts if part not in parts and (base / part / "config.json").is_file()]
    names = [f"adapter-{number}" for number in range(len(weighted))]
    for name, (adapter, _) in zip(names, weighted, strict=True):
        apply.inject(parts, adapter, name)
    apply.set_weights(apply.adapted_modules(parts), {name: weight for name, (_, weight) in zip(names, weighted, strict=True)})
    apply.merge(parts)
    for part in (*parts, *others):
        getattr(pipeline, part).to(_precision(base / part))
    with atomic_directory(target) as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
        write_published_names(folder)


def _precision(part: Path) -> torch.dtype:
    """That of the weights in the folder of a ``part``: of the plain file, where there are variants of it."""
    from safetensors import safe_open

    files = sorted(part.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    with safe_open(files[0], "pt") as file:
        found: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return found
