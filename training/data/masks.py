"""The mask of each image: in the data set's ``masks/`` by the image's path or name, or beside it as OneTrainer keeps it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import images_below
from training.data.layout import MASKS

_SUFFIX = "-masklabel"
"""OneTrainer keeps the mask of ``a.png`` beside it as ``a-masklabel.png``."""


def without_masks(images: Sequence[Path]) -> list[Path]:
    """Those of ``images`` that are no masks of others."""
    return [image for image in images if not image.stem.endswith(_SUFFIX)]


def masks_of(images: Sequence[Path], masks_beside: Sequence[Path], dataset: Path, root: Path) -> dict[Path, Path]:
    """Image → its mask. ``images`` lie below ``root``, as do ``masks_beside``.

    A mask in ``masks/`` belongs to the image of the same path below ``root`` or ``dataset``, or to the only one of its name.
    Raises ``BadInput`` for a mask that belongs to no image or may belong to several, and for two masks of one image.
    """
    by_path = {place.with_suffix(""): image for image in images for place in _places(image, dataset, root)}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    found: dict[Path, Path] = {}
    for mask in masks_beside:
        own = by_path.get(mask.relative_to(root).with_name(mask.stem.removesuffix(_SUFFIX)))
        _add(found, mask, own, [])
    for mask in images_below(dataset / MASKS):
        place = mask.relative_to(dataset / MASKS).with_name(mask.stem.removesuffix(_SUFFIX))
        _add(found, mask, by_path.get(place), by_stem[place.name] if len(place.parts) == 1 else [])
    return found


def _places(image: Path, dataset: Path, root: Path) -> tuple[Path, Path]:
    return image.relative_to(root), image.relative_to(dataset)


def _add(found: dict[Path, Path], mask: Path, own: Path | None, of_its_name: Sequence[Path]) -> None:
    if own is None and len(of_its_name) > 1:
        raise BadInput(
            f"{mask}: {len(of_its_name)} images are called {of_its_name[0].name}, in {of_its_name[0].parent.name}/ and "
            f"{of_its_name[1].parent.name}/. Put the mask in a folder of that name in {MASKS}/."
        )
    image = own or (of_its_name[0] if of_its_name else None)
    if image is None:
        raise BadInput(f"{mask}: there is no image of that name. Name a mask as its image, or remove it.")
    if image in found:
        raise BadInput(f"{mask}: {image.name} has a mask already, {found[image]}. Remove one.")
    found[image] = mask
