"""The published bases whose configurations come with their family."""

from pathlib import Path

import pytest
import torch

from zthumb import families
from zthumb.families.base import BASES
from zthumb.sources.local import family_of


@pytest.mark.parametrize("folder", sorted(BASES.iterdir()), ids=lambda folder: folder.name)
def test_no_two_modules_of_a_base_share_a_place_in_its_published_file(folder: Path) -> None:
    family = families.get(family_of(folder))
    configuration = family.configuration(folder, family.denoiser_component)
    with torch.device("meta"):
        denoiser = family.build_component(family.denoiser_component, configuration)
    modules = [name.removesuffix(".weight") for name in denoiser.state_dict() if name.endswith(".weight")]

    keys = [family.original_key(module, configuration) for module in modules]

    assert len({(key.name, key.rows) for key in keys}) == len(modules)


@pytest.mark.parametrize(
    ("name", "component", "parameters"),
    [
        ("FLUX.1-dev", "transformer", 11_901_408_320),
        ("FLUX.1-schnell", "transformer", 11_891_178_560),
        ("FLUX.1-dev", "text_encoder_2", 4_762_310_656),
        ("FLUX.2-klein-base-4B", "transformer", 3_875_544_576),
        ("FLUX.2-klein-9B", "transformer", 9_078_581_248),
        ("FLUX.2-klein-9B", "text_encoder", 8_190_735_360),
        ("FLUX.2-dev", "transformer", 32_223_281_152),
        ("Z-Image", "transformer", 6_154_908_736),
        ("Z-Image", "text_encoder", 4_022_468_096),
        ("Qwen-Image", "transformer", 20_430_401_088),
        ("Qwen-Image", "text_encoder", 8_292_166_656),
    ],
)
def test_the_configurations_are_those_of_the_published_weights(name: str, component: str, parameters: int) -> None:
    family = families.get(family_of(BASES / name))
    with torch.device("meta"):
        model = family.build_component(component, family.configuration(BASES / name, component))

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
