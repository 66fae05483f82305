"""Where weights are loaded to, and in which precision, on machines that this one is not."""

from pathlib import Path

import pytest
import torch

from tests.conftest import MINIATURE
from zthumb import families
from zthumb.backends import full, gguf
from zthumb.backends.base import Options, WeightsLocation

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("kind", ["full", "gguf"])
def test_weights_that_wait_for_a_gpu_have_the_precision_that_it_computes_in(kind: str, tmp_path: Path) -> None:
    family, location = families.get("sdxl"), WeightsLocation(MINIATURE, MINIATURE)
    backend = full.Backend.__new__(full.Backend)
    if kind == "gguf":
        backend, file = gguf.Backend.__new__(gguf.Backend), tmp_path / "unet.gguf"
        gguf.write_denoiser(MINIATURE, family, "q8_0", file)
        location = WeightsLocation(file, MINIATURE)

    pipeline = backend._load(location, family, Options(), GPU, CPU)

    assert pipeline.text_encoder.dtype == torch.bfloat16
    assert pipeline.unet.conv_in.weight.dtype == torch.bfloat16
    assert pipeline.unet.conv_in.weight.device == CPU
