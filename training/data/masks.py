"""Find the mask of each image: in the data set's ``masks/`` by the image's path or name, or next to it (OneTrainer)."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.image_files import images_below
from training.data.layout import MASKS

_SUFFIX = "-masklabel"
"""OneTrainer saves the mask of ``a.png`` next to it as ``a-masklabel.png``."""


def without_masks(images: Sequence[Path]) -> list[Path]:
    """Return those of ``images`` that are not masks of others."""
    return [image for image in images if not image.stem.endswith(_SUFFIX)]


def find_masks(images: Sequence[Path], sidecar_masks: Sequence[Path], dataset: Path, root: Path) -> dict[Path, Path]:
    """Map each image that has a mask to its mask. ``images`` and ``sidecar_masks`` (those next to images) are below ``root``.

    A mask in ``masks/`` belongs to the image of the same path below ``root`` or ``dataset``, or to the only one of its name.
    Raises ``BadInput`` for a mask that belongs to no image or may belong to several, and for two masks of one image.
    """
    by_path = {path.with_suffix(""): image for image in images for path in _relative_paths(image, dataset, root)}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    masks: dict[Path, Path] = {}
    for mask in sidecar_masks:
        same_path = by_path.get(mask.relative_to(root).with_name(mask.stem.removesuffix(_SUFFIX)))
        _add_mask(masks, mask, same_path, [])
    for mask in images_below(dataset / MASKS):
        path = mask.relative_to(dataset / MASKS).with_name(mask.stem.removesuffix(_SUFFIX))
        _add_mask(masks, mask, by_path.get(path), by_stem[path.name] if len(path.parts) == 1 else [])
    return masks


def _relative_paths(image: Path, dataset: Path, root: Path) -> tuple[Path, Path]:
    return image.relative_to(root), image.relative_to(dataset)


def _add_mask(masks: dict[Path, Path], mask: Path, same_path: Path | None, same_name: Sequence[Path]) -> None:
    if same_path is None and len(same_name) > 1:
        raise BadInput(
            f"{mask}: {len(same_name)} images are called {same_name[0].name}, in {same_name[0].parent.name}/ and "
            f"{same_name[1].parent.name}/. Put the mask in a folder of that name in {MASKS}/."
        )
    image = same_path or (same_name[0] if same_name else None)
    if image is None:
        raise BadInput(f"{mask}: there is no image of that name. Name the mask like its image, or remove it.")
    if image in masks:
        raise BadInput(f"{mask}: {image.name} already has a mask, {masks[image]}. Remove one of the two.")
    masks[image] = mask
