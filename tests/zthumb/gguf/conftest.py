"""GGUF files as they are found in the wild, made of the miniature's denoiser."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import MINIATURE
from zthumb import families

SDXL = families.get("sdxl")
Tensors = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="session")
def denoiser() -> Any:
    """The miniature's own, whole."""
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu")).unet


@pytest.fixture(scope="session")
def original(denoiser: Any) -> Tensors:
    """Its tensors by their original names."""
    origins = SDXL.origins("unet", denoiser)
    return {origins[name].name: values.numpy() for name, values in denoiser.state_dict().items()}


def write(
    path: Path,
    tensors: Tensors,
    kind: Callable[[str, NDArray[Any]], gguf.GGMLQuantizationType],
    architecture: str = "sdxl",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Path:
    """A file of ``tensors``, each of the type that ``kind`` says, with the true ``shapes`` of those that have others."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, shape in (shapes or {}).items():
        writer.add_array(f"comfy.gguf.orig_shape.{name}", list(shape))
    for name, values in tensors.items():
        chosen = kind(name, values)
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def prediction(denoiser: Any) -> torch.Tensor:
    """What a denoiser makes of noise."""
    generator = torch.Generator().manual_seed(0)
    width = denoiser.config.cross_attention_dim
    pooled = denoiser.config.projection_class_embeddings_input_dim - 6 * denoiser.config.addition_time_embed_dim
    with torch.no_grad():
        predicted: torch.Tensor = denoiser(
            torch.randn(1, 4, 16, 16, generator=generator),
            torch.tensor([500]),
            torch.randn(1, 77, width, generator=generator),
            added_cond_kwargs={
                "text_embeds": torch.randn(1, pooled, generator=generator),
                "time_ids": torch.tensor([[128.0, 128, 0, 0, 128, 128]]),
            },
        ).sample
    return predicted


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far ``other`` is from ``one``, relative to that."""
    return float((one - other).norm() / one.norm())
