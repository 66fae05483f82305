"""A text encoder in a GGUF file, as llama.cpp and its users have them, under the names that it has in transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.checkpoints.gguf.file import StoredTensor, read_gguf
from zthumb.checkpoints.gguf.load import check_types, dequantized

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURES = ("t5", "t5encoder", "qwen2vl", "qwen3")
"""``general.architecture`` of those that are read; rows of llama's are stored in another order."""
_SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True)
class GgufTextEncoder:
    """The tensors of the file at ``path`` by their names in transformers; quantized ones are read as bf16."""

    path: Path
    stored: Mapping[str, StoredTensor]

    @classmethod
    def read(cls, path: Path, names: Iterable[str]) -> GgufTextEncoder:
        """Find the tensors called ``names`` in transformers in the file at ``path``; ``BadInput`` for other architectures."""
        import gguf

        file = read_gguf(path)
        check_types(file)
        architecture = file.metadata.get("general.architecture", "")
        if architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise BadInput(f"{path}: its architecture is {architecture or 'not stated'}, and text encoders of {known} are read.")
        blocks = file.metadata.get(f"{architecture}.block_count", "")
        if not blocks.isdigit():
            raise BadInput(f"{path}: does not state {architecture}.block_count, which every such file has.")
        (kind,) = (kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
        keys = gguf.get_tensor_name_map(kind, int(blocks))
        stored = dict[str, StoredTensor]()
        for name in names:
            key = keys.get_name(name, _SUFFIXES)
            if key is not None and key in file.tensors:
                stored[name] = file.tensors[key]
        return cls(path, stored)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by its name in transformers."""
        return {name: tensor.shape for name, tensor in self.stored.items()}

    def dtype(self, name: str) -> str:
        """Return the dtype that the tensor called ``name`` is read in."""
        kind = self.stored[name].type.name
        return kind if kind in ("F32", "F16") else "BF16"

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        import torch

        dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return dequantized(self.stored[name], dtypes[self.dtype(name)])
