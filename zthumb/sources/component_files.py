"""Single components of a base in files of their own: which one a file is, and how it becomes a folder in diffusers' layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from foundation.errors import BadInput
from foundation.files import atomic_directory
from zthumb import families
from zthumb.checkpoints.checkpoint_key import CheckpointKey, own_tensors
from zthumb.sources.local import family_of

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import ModelFamily

_DIFFUSERS_WEIGHTS, _TRANSFORMERS_WEIGHTS = "diffusion_pytorch_model.safetensors", "model.safetensors"
_MISSING = "F16"
"""The dtype of zeros for tensors that no prompt takes."""


class TensorFile(Protocol):
    """A file of tensors: their shapes by name; each one, and its dtype in safetensors' words, is read by name."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor."""

    def dtype(self, name: str) -> str:
        """Return the dtype that the tensor called ``name`` is read in."""

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""


@dataclass(frozen=True)
class Component:
    """A component of a base, in ``folder``: each tensor's shape, and its key in a published checkpoint.

    Tensors whose names begin with one of ``unread`` may be missing: nothing that the base is used for here reads them.
    """

    folder: Path
    weights_name: str
    shapes: Mapping[str, tuple[int, ...]]
    checkpoint_keys: Mapping[str, CheckpointKey]
    unread: tuple[str, ...] = ()

    def mismatch(self, opened: TensorFile, prefix: str) -> str | None:
        """Return the first tensor of an ``opened`` file that does not fit this component; None if all fit."""
        for name, expected in self.shapes.items():
            key = self.checkpoint_keys[name]
            shape = opened.shapes.get(prefix + key.name)
            if shape is None and not name.startswith(self.unread):
                return f"it lacks {prefix}{key.name}"
            if shape is not None and not key.fits(shape, expected):
                return f"{prefix}{key.name} is {shape}, expected {expected}"
        return None

    def write(self, file: TensorFile, prefix: str, target: Path) -> None:
        """Write the component in ``file`` to the folder ``target``, as diffusers loads it."""
        import torch

        from zthumb.checkpoints import safetensors_file

        target.mkdir(exist_ok=True)
        shutil.copyfile(self.folder / "config.json", target / "config.json")
        names = {name: prefix + key.name for name, key in self.checkpoint_keys.items()}

        def read_tensor(name: str) -> Tensor:
            if names[name] not in file.shapes:
                return torch.zeros(self.shapes[name], dtype=torch.float16)
            return self.checkpoint_keys[name].extract(file.tensor(names[name]), self.shapes[name])

        def dtype(name: str) -> str:
            return file.dtype(names[name]) if names[name] in file.shapes else _MISSING

        shapes = {name: (dtype(name), shape) for name, shape in self.shapes.items()}
        safetensors_file.write_streamed(shapes, read_tensor, target / self.weights_name)


def component_of(family: ModelFamily, base: Path, name: str) -> Component:
    """Return the component called ``name`` of the base in ``base``, of which only the configuration is needed."""
    import torch

    with torch.device("meta"):
        model = family.build_component(name, family.configuration(base, name))
    tensors, keys = own_tensors(model), family.checkpoint_keys(name, model)
    # Written under the tensor names that every version of transformers accepts.
    shapes = {family.file_path(name, tensor): tuple(values.shape) for tensor, values in tensors.items()}
    checkpoint_keys = {family.file_path(name, tensor): keys[tensor] for tensor in tensors}
    is_text = name in family.text_components
    weights_name = _TRANSFORMERS_WEIGHTS if is_text else _DIFFUSERS_WEIGHTS
    return Component(base / name, weights_name, shapes, checkpoint_keys, family.unread_tensors if is_text else ())


def write_component_file(file: TensorFile, base: Path, name: str, target: Path) -> None:
    """Write the component called ``name`` in ``file`` to ``target``, as that of ``base``; ``BadInput`` if it does not fit."""
    family = families.get(family_of(base))
    mismatches = []
    for component, prefix in _namings(family, base, name):
        mismatch = component.mismatch(file, prefix)
        if mismatch is None:
            with atomic_directory(target) as temporary:
                component.write(file, prefix, temporary)
            return
        mismatches.append(mismatch)
    kind = "an autoencoder" if name in family.image_components else f"a {name}"
    raise BadInput(f"{file.path}: is not {kind} for {base}: {mismatches[1]}.")


def recognize_component(file: TensorFile, base: Path, among: Sequence[str]) -> str:
    """Return which component of ``base``, one of ``among``, is in ``file``; ``BadInput`` if it is none of them."""
    family = families.get(family_of(base))
    reasons = []
    for name in among:
        namings = list(_namings(family, base, name))
        found = [component.mismatch(file, prefix) for component, prefix in namings]
        if not all(found):
            if name == family.denoiser_component:
                _check_is_alone(file, base, *namings[found.index(None)])
            return name
        reasons.append(f"as {name}, {found[1]}")
    raise BadInput(f"{file.path}: is no component of {base.name} that is missing: {'; '.join(reasons)}.")


def _check_is_alone(file: TensorFile, base: Path, denoiser: Component, prefix: str) -> None:
    """Raise ``BadInput`` if a denoiser's file has more than it: the denoiser of a larger base, or a whole checkpoint."""
    known = {prefix + key.name for key in denoiser.checkpoint_keys.values()}
    if others := sorted(set(file.shapes) - known):
        advice = "A whole checkpoint is a base of its own: use it as it is."
        raise BadInput(f"{file.path}: has {others[0]} besides the denoiser of {base.name}. {advice}")


def _namings(family: ModelFamily, base: Path, name: str) -> Iterator[tuple[Component, str]]:
    """The component with each naming of its tensors: of a whole checkpoint, of a published component, and of diffusers."""
    published = component_of(family, base, name)
    own = {tensor: CheckpointKey(tensor) for tensor in published.shapes}
    yield published, family.single_file[name]
    yield published, ""
    yield Component(published.folder, published.weights_name, published.shapes, own, published.unread), ""
