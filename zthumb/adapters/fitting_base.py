"""Find out from the tensor shapes in an adapter file which base it is for."""

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
from zthumb.checkpoints import header as headers
from zthumb.sources.local import family_of

MODELS = Path("models")
_VERSION_KEY = "ss_base_model_version"


@dataclass(frozen=True)
class Recognized:
    """An adapter and the base it fits."""

    adapter: Adapter
    base: ModuleShapes


def recognize(path: Path, base: Path | None = None) -> Recognized:
    """Read the adapter in ``path`` for ``base``, or without one for the first available base that it fits.

    Available are the reference base of every family, of which only the configuration is needed, and the bases in ``models``.
    Raises ``BadInput`` that says why the adapter fits none of them.
    """
    if base:
        candidate = module_shapes.of_folder(base.name, base, families.get(family_of(base)))
        return _read_for(candidate, path)
    reasons = []
    for candidate in _available_bases(headers.read(path).metadata.get(_VERSION_KEY)):
        try:
            return _read_for(candidate, path)
        except BadInput as error:
            reasons.append(str(error))
    # A broken file is refused for the same reason with every base.
    raise BadInput(reasons[0] if len(set(reasons)) == 1 else f"{path}: fits none of the available bases. {' '.join(reasons)}")


def _read_for(base: ModuleShapes, path: Path) -> Recognized:
    adapter = reader.load(path, base)
    check_effect(adapter, base, path)
    return Recognized(adapter, base)


def _available_bases(version: str | None) -> Iterator[ModuleShapes]:
    """Yield the bases, first those of the ``version`` that the adapter's header names: several have the same shapes."""
    folders = [reference for name in families.names() for reference in families.get(name).references]
    folders += sorted(index.parent for index in MODELS.glob("*/model_index.json"))
    candidates = []
    for folder in folders:
        # Skip folders that cannot be compared with: models of another family, incomplete downloads.
        with contextlib.suppress(BadInput, OSError, ValueError, KeyError, TypeError):
            family = families.get(family_of(folder))
            configuration = family.configuration(folder, family.denoiser_component)
            candidates.append((family.metadata(configuration, family.prediction(folder)).version != version, folder, family))
    for _, folder, family in sorted(candidates, key=lambda candidate: candidate[0]):
        with contextlib.suppress(BadInput, OSError, ValueError, KeyError, TypeError):
            yield module_shapes.of_folder(folder.name, folder, family)
