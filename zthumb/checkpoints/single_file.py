"""A checkpoint that is one file, opened to be looked at: names, shapes and single tensors, under the names that are meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

ENDING = ".safetensors"


@dataclass(frozen=True)
class SingleFile:
    """The tensors of ``path``: name → shape, and what its header says. ``stored_names`` are those that differ in the file."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
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
                names = opened.keys()
                shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in names}
                return cls(path, shapes, opened.metadata() or {}, {})
        except SafetensorError as error:
            raise BadInput(f"{path}: not a safetensors file: {str(error).splitlines()[0]}") from None

    def renamed(self, aliases: Mapping[str, str]) -> SingleFile:
        """Return the same file with each name that begins with a prefix in ``aliases`` under the prefix that is meant."""
        longest = sorted(aliases, key=len, reverse=True)

        def meant(name: str) -> str:
            prefix = next((prefix for prefix in longest if name.startswith(prefix)), None)
            return name if prefix is None else aliases[prefix] + name.removeprefix(prefix)

        shapes = {meant(name): shape for name, shape in self.shapes.items()}
        stored_names = {meant(name): self.stored_name(name) for name in self.shapes}
        return SingleFile(self.path, shapes, self.metadata, stored_names)

    def stored_name(self, name: str) -> str:
        """Return what the tensor called ``name`` is called in the file."""
        return self.stored_names.get(name, name)

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        from safetensors import safe_open

        with safe_open(self.path, "pt") as opened:
            tensor: Tensor = opened.get_tensor(self.stored_name(name))
        return tensor
