"""GGUF files as common programs write them, made from the miniature's denoiser."""

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
    """Return the miniature's denoiser in full precision."""
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu")).unet


@pytest.fixture(scope="session")
def original(denoiser: Any) -> Tensors:
    """Return its tensors by their original names."""
    checkpoint_keys = SDXL.checkpoint_keys("unet", denoiser)
    return {checkpoint_keys[name].name: values.numpy() for name, values in denoiser.state_dict().items()}


def write(
    path: Path,
    tensors: Tensors,
    type_of: Callable[[str, NDArray[Any]], gguf.GGMLQuantizationType],
    architecture: str = "sdxl",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Path:
    """Write a file of ``tensors``, each of the type that ``type_of`` returns, with the true ``shapes`` of reshaped ones."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, shape in (shapes or {}).items():
        writer.add_array(f"comfy.gguf.orig_shape.{name}", list(shape))
    for name, values in tensors.items():
        tensor_type = type_of(name, values)
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def prediction(denoiser: Any) -> torch.Tensor:
    """Return a denoiser's prediction for fixed noise."""
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


def relative_error(expected: torch.Tensor, actual: torch.Tensor) -> float:
    """Return the norm of the difference, relative to ``expected``."""
    return float((expected - actual).norm() / expected.norm())
