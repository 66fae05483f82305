"""A checkpoint that is one file, opened to be looked at: names, shapes and single tensors, under the names that are meant.

Weights in eight bits are read as what they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.checkpoints import eight_bits
from zthumb.checkpoints.safetensors_file import ELEMENT_BYTES

if TYPE_CHECKING:
    from torch import Tensor

ENDING = ".safetensors"


@dataclass(frozen=True)
class SingleFile:
    """The tensors of ``path``: name → shape, and what its header says. ``stored_names`` are those that differ in the file.

    ``dtypes`` and ``scales`` are by the names in the file: each tensor's dtype as it is read, in safetensors' words, and the name
    of the scale of a weight that has one.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    dtypes: Mapping[str, str]
    scales: Mapping[str, str]
    stored_names: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> SingleFile:
        """Read the header of the file in ``path``; raise ``BadInput`` if it is not a safetensors file."""
        from safetensors import SafetensorError, safe_open

        if path.suffix != ENDING:
            expected = f"a base is a folder in the diffusers layout or a {ENDING} file; other files may contain code."
            raise BadInput(f"{path}: {expected}")
        try:
            with safe_open(path, "pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
                dtypes = {name: str(part.get_dtype()) for name, part in slices.items()}
                metadata = opened.metadata() or {}
        except SafetensorError as error:
            raise BadInput(f"{path}: not a safetensors file: {str(error).splitlines()[0]}") from None
        scales = {name: scale for name in shapes if (scale := eight_bits.scale_of(name, shapes))}
        for name in shapes:
            if problem := eight_bits.problem(name, shapes, dtypes):
                raise BadInput(f"{path}: {name} is quantized in a way that is not read here: {problem}.")
        weights = {name: shape for name, shape in shapes.items() if eight_bits.is_weight(name)}
        read_as = {name: eight_bits.READ_AS if dtype in eight_bits.DTYPES else dtype for name, dtype in dtypes.items()}
        return cls(path, weights, metadata, read_as, scales, {})

    def renamed(self, aliases: Mapping[str, str]) -> SingleFile:
        """Return the same file with each name that begins with a prefix in ``aliases`` under the prefix that is meant."""
        longest = sorted(aliases, key=len, reverse=True)

        def meant(name: str) -> str:
            prefix = next((prefix for prefix in longest if name.startswith(prefix)), None)
            return name if prefix is None else aliases[prefix] + name.removeprefix(prefix)

        shapes = {meant(name): shape for name, shape in self.shapes.items()}
        stored_names = {meant(name): self.stored_name(name) for name in self.shapes}
        return replace(self, shapes=shapes, stored_names=stored_names)

    def stored_name(self, name: str) -> str:
        """Return what the tensor called ``name`` is called in the file."""
        return self.stored_names.get(name, name)

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        from safetensors import safe_open

        stored = self.stored_name(name)
        with safe_open(self.path, "pt") as opened:
            tensor: Tensor = opened.get_tensor(stored)
            if tensor.dtype.itemsize > 1 or not tensor.is_floating_point():
                return tensor
            scale = opened.get_tensor(self.scales[stored]) if stored in self.scales else None
        return eight_bits.restore(tensor, scale)

    def dtype(self, name: str) -> str:
        """Return the dtype of the tensor called ``name`` as it is read."""
        return self.dtypes[self.stored_name(name)]

    @property
    def read_bytes(self) -> int:
        """The bytes of all tensors as they are read."""
        return sum(prod(shape) * ELEMENT_BYTES.get(self.dtype(name), 8) for name, shape in self.shapes.items())
