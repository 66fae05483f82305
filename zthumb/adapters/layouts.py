"""One adapter in two layouts, because no single file satisfies every reader.

The kohya layout is read by diffusers, ComfyUI, A1111, Forge, SD.Next, InvokeAI and kohya itself; the diffusers layout by
diffusers and PEFT. Both are written with alpha equal to rank, the scale folded into the weights: readers that ignore or guess
alpha then agree with those that read it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zthumb.adapters import safetensors_file
from zthumb.adapters.names import to_kohya

if TYPE_CHECKING:
    from torch import Tensor

_MAGNITUDE = ".lora_magnitude_vector"

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A UNet LoRA by PEFT names: ``<module>.lora_A.weight`` (rank, in, …) and ``<module>.lora_B.weight`` (out, rank, …).

    ``scale`` is what their product is multiplied by. DoRA (arXiv 2402.09353) adds ``<module>.lora_magnitude_vector`` (out,).
    """

    weights: "Mapping[str, Tensor]"
    rank: int
    scale: float
    target_modules: Sequence[str]

    @property
    def modules(self) -> list[str]:
        """Paths of the adapted modules, sorted."""
        return sorted(name.removesuffix(".lora_A.weight") for name in self.weights if name.endswith(".lora_A.weight"))

    @property
    def is_dora(self) -> bool:
        """Whether it holds magnitudes too."""
        return any(name.endswith(_MAGNITUDE) for name in self.weights)

    def down(self, module: str) -> "Tensor":
        """The projection onto the rank, (rank, in, …)."""
        return self.weights[f"{module}.lora_A.weight"].contiguous()

    def up(self, module: str) -> "Tensor":
        """The projection back, (out, rank, …), with the scale folded in."""
        return (self.weights[f"{module}.lora_B.weight"] * self.scale).contiguous()

    def magnitude(self, module: str) -> "Tensor":
        """DoRA's norms of the adapted weight's rows, (out,)."""
        return self.weights[module + _MAGNITUDE].flatten().contiguous()


def save_diffusers(adapter: Adapter, path: Path) -> None:
    """Write the diffusers layout: PEFT keys below ``unet.``, rank and alpha in the header."""
    tensors = {}
    for module in adapter.modules:
        tensors[f"unet.{module}.lora_A.weight"] = adapter.down(module)
        tensors[f"unet.{module}.lora_B.weight"] = adapter.up(module)
        if adapter.is_dora:
            tensors[f"unet.{module}{_MAGNITUDE}"] = adapter.weights[module + _MAGNITUDE].contiguous()
    config = {
        "unet.r": adapter.rank,
        "unet.lora_alpha": adapter.rank,
        "unet.target_modules": sorted(adapter.target_modules),
        **({"unet.use_dora": True} if adapter.is_dora else {}),
    }
    header = {"format": "pt", "lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True)}
    safetensors_file.write(tensors, header, path)


def save_kohya(adapter: Adapter, path: Path, layers_per_block: int, metadata: Mapping[str, str]) -> None:
    """Write the kohya layout: original block names, a scalar alpha for each module, ``metadata`` and its hash in the header."""
    import torch

    tensors = {}
    for module in adapter.modules:
        name = to_kohya(module, layers_per_block)
        tensors[f"{name}.alpha"] = torch.tensor(float(adapter.rank))
        tensors[f"{name}.lora_down.weight"] = adapter.down(module)
        tensors[f"{name}.lora_up.weight"] = adapter.up(module)
        if adapter.is_dora:
            # One norm for each output, as LyCORIS writes it with wd_on_out; a row of inputs would be the other kind.
            tensors[f"{name}.dora_scale"] = adapter.magnitude(module).reshape(-1, *[1] * (adapter.down(module).dim() - 1))
    digest = safetensors_file.body_hash(tensors)
    hashes = {"sshs_model_hash": digest, "modelspec.hash_sha256": f"0x{digest}"}
    safetensors_file.write(tensors, {**metadata, **hashes}, path)
