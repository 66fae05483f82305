"""Which base an adapter is for, found out from the shapes in its file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.effect import check_effect
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.sources.local import family_of

MODELS = Path("models")


@dataclass(frozen=True)
class Recognised:
    """An adapter and the base it fits."""

    adapter: Adapter
    base: ModuleShapes


def recognise(path: Path, base: Path | None = None) -> Recognised:
    """Read the adapter in ``path`` for ``base``, or else for the first base it fits of those there are.

    Those are the bases in ``models`` and the best known one of every family, of which the configuration alone is needed.
    ``BadInput`` tells what is wrong for the nearest of them.
    """
    if base:
        known = module_shapes.of_folder(base.name, base, families.get(family_of(base)))
        return _recognised(path, known)
    refusals = []
    for known in _known():
        try:
            return _recognised(path, known)
        except BadInput as refusal:
            refusals.append(str(refusal))
    # All bases refuse a broken file for the same reason.
    raise BadInput(refusals[0] if len(set(refusals)) == 1 else f"{path}: fits no base that is known here. {' '.join(refusals)}")


def _recognised(path: Path, known: ModuleShapes) -> Recognised:
    adapter = reader.load(path, known)
    check_effect(adapter, known, path)
    return Recognised(adapter, known)


def _known() -> Iterator[ModuleShapes]:
    folders = [families.get(name).reference for name in families.names()]
    for folder in [*folders, *sorted(index.parent for index in MODELS.glob("*/model_index.json"))]:
        # What is there besides, of another family or half downloaded, is no base to compare with.
        with contextlib.suppress(BadInput, OSError, ValueError, KeyError, TypeError):
            yield module_shapes.of_folder(folder.name, folder, families.get(family_of(folder)))
