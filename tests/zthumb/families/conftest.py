"""The miniature of every model family, which the contract tests run over; random weights where none is trained yet.

What needs another configuration than the trained one has takes random weights as well.
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from miniature import qwen_tokenizer, t5_tokenizer
from tests.conftest import ROOT
from tests.zthumb.families import random_miniatures
from zthumb import families
from zthumb.families.base import ModelFamily
from zthumb.families.shared.flux2_transformer import Flux2Family, layers_read

TRAINED = MappingProxyType({"sd15": "mini-sd15", "sdxl": "mini-sdxl", "z_image": "mini-z-image"})
RANDOM: MappingProxyType[str, Callable[[Path, Path], None]] = MappingProxyType(
    {
        "flux": random_miniatures.write_flux,
        "flux2": random_miniatures.write_flux2,
        "flux2_dev": random_miniatures.write_flux2_dev,
        "qwen_image": random_miniatures.write_qwen_image,
        "z_image": random_miniatures.write_z_image,
    }
)

LENGTHS: MappingProxyType[str, int] = MappingProxyType(
    {"flux": t5_tokenizer.MAX_LENGTH, "flux2": 64, "z_image": qwen_tokenizer.MAX_LENGTH}
)
"""The most tokens of a prompt, where diffusers' pipeline has to be told of a miniature's."""

UNTRAINED_AUTOENCODERS = ("flux2", "flux2_dev", "qwen_image")


def call_diffusers(family: ModelFamily, pipeline: Any, prompts: list[str], guidance_scale: float, **options: Any) -> Any:
    """Return what diffusers' own pipeline makes of ``prompts``."""
    if family.name == "qwen_image":
        guided = {"true_cfg_scale": guidance_scale, "negative_prompt": [" "] * len(prompts)}
    else:
        guided = {"guidance_scale": guidance_scale}
    lengths = {"max_sequence_length": LENGTHS[family.name]} if family.name in LENGTHS else {}
    if isinstance(family, Flux2Family):
        options["text_encoder_out_layers"] = layers_read(pipeline.text_encoder.config.get_text_config().num_hidden_layers)
    # Z-Image's pipeline changes the list itself.
    return pipeline(prompt=list(prompts), height=128, width=128, **guided, **lengths, **options).images


@pytest.fixture(scope="module", params=sorted({*TRAINED, *RANDOM}))
def family(request: pytest.FixtureRequest) -> ModelFamily:
    return families.get(request.param)


@pytest.fixture(scope="module")
def folder(family: ModelFamily, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if family.name in TRAINED:
        return ROOT / "models" / TRAINED[family.name]
    models = tmp_path_factory.mktemp("models")
    (models / "mini-sdxl").symlink_to(ROOT / "models" / "mini-sdxl")
    target = models / f"mini-{family.name}"
    RANDOM[family.name](models / "mini-sdxl", target)
    return target


@pytest.fixture(scope="module")
def pipeline(family: ModelFamily, folder: Path) -> Any:
    return family.load(folder, torch.float32, torch.device("cpu"))
