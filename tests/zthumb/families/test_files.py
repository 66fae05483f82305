"""What every family's files must satisfy: single files, GGUF and both adapter layouts give back the tensors that were written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import GGUFQuantizationConfig
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.adapters import random_adapter
from tests.zthumb.families.test_contract import completed
from tests.zthumb.published import write_single_file
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.adapter_cache import AdapterCache, Lora
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.backends.gguf import read_denoiser, write_denoiser
from zthumb.families.base import ModelFamily
from zthumb.sources.bases import find_base
from zthumb.sources.local import hash_base

pytestmark = pytest.mark.slow


def _predicted(family: ModelFamily, pipeline: Any, denoiser: Any = None) -> Tensor:
    """Return a prediction for fixed noise and a prompt."""
    shape = (1, *family.latent_shape(pipeline, 128, 128))
    noisy = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    conditioning = completed(family, pipeline, ["a red star"])
    with torch.no_grad():
        return family.predict(denoiser or family.denoiser(pipeline), noisy, torch.tensor([500]), conditioning)


def test_a_single_file_is_converted_to_exactly_the_base_it_was_made_from(
    family: ModelFamily, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / folder.name).symlink_to(folder)
    file = write_single_file(folder, tmp_path / "models" / "x.safetensors")

    converted = find_base(str(file))

    assert hash_base(converted) == hash_base(folder)
    assert family.resolution(converted) == family.resolution(folder)


def test_a_file_of_the_denoiser_alone_gets_the_other_components_of_a_base_configured_alike(
    family: ModelFamily, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / folder.name).symlink_to(folder)
    prefix = family.single_file[family.denoiser_component]
    whole = load_file(write_single_file(folder, tmp_path / "whole.safetensors"))
    # Most files of FLUX.1 have no prefix.
    kept = "" if family.name == "flux" else prefix
    denoiser = {kept + name.removeprefix(prefix): tensor for name, tensor in whole.items() if name.startswith(prefix)}
    save_file(denoiser, tmp_path / "models" / "x.safetensors")

    assert hash_base(find_base("models/x.safetensors")) == hash_base(folder)


@pytest.mark.parametrize("has_original_names", [False, True], ids=["diffusers", "original"])
def test_a_gguf_file_predicts_as_the_base(
    family: ModelFamily, folder: Path, pipeline: Any, tmp_path: Path, has_original_names: bool
) -> None:
    write_denoiser(folder, family, "q8_0", tmp_path / "x.gguf", has_original_names)

    denoiser = read_denoiser(tmp_path / "x.gguf", folder, family, torch.float32)

    expected, actual = _predicted(family, pipeline), _predicted(family, pipeline, denoiser)
    assert float((actual - expected).norm() / expected.norm()) < 0.01
    assert not torch.equal(actual, expected)
    assert GGUFReader(tmp_path / "x.gguf").fields["general.architecture"].contents() == family.gguf_architecture


def test_a_gguf_file_under_published_names_is_read_by_diffusers_to_the_same_effect(
    family: ModelFamily, folder: Path, pipeline: Any, tmp_path: Path
) -> None:
    if family.name in ("sdxl", "sd15"):
        pytest.skip("diffusers reads UNets under its own names alone")
    if family.name == "flux":
        pytest.skip("diffusers reads files of FLUX.1 at its full width alone")
    write_denoiser(folder, family, "q8_0", tmp_path / "x.gguf", has_original_names=True)
    quantization = GGUFQuantizationConfig(compute_dtype=torch.float32)
    # It would leave these two of Z-Image, which are no linear layers, as bytes.
    quantization.modules_to_not_convert = ["x_pad_token", "cap_pad_token"]

    theirs = type(family.denoiser(pipeline)).from_single_file(
        str(tmp_path / "x.gguf"),
        config=str(folder),
        subfolder=family.denoiser_component,
        quantization_config=quantization,
        torch_dtype=torch.float32,
    )

    unquantized, there = _predicted(family, pipeline), _predicted(family, pipeline, theirs)
    here = _predicted(family, pipeline, read_denoiser(tmp_path / "x.gguf", folder, family, torch.float32))
    # They differ by the rounding of products, an order of magnitude less than by that of the weights.
    assert float((here - there).norm()) < 0.1 * float((here - unquantized).norm())


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_an_adapter_is_the_same_in_diffusers_and_here_and_leaves_no_trace(
    family: ModelFamily, folder: Path, tmp_path: Path, layout: str
) -> None:
    # Given an adapter in one of both layouts
    adapter, file = random_adapter(folder, targets="attention+feed-forward", strength=0.05), tmp_path / "x.safetensors"
    if layout == "kohya":
        save_kohya(adapter, file, family, family.configuration(folder, family.denoiser_component), {})
    else:
        save_diffusers(adapter, file, prefixes=family.diffusers_prefixes)
    pipeline = family.load(folder, torch.float32, torch.device("cpu"))
    before = _predicted(family, pipeline)
    components = {name: getattr(pipeline, name) for name in family.adapted_components}
    base = module_shapes.of_components("base", components, family)

    # Then its weights come back, it changes the prediction here, and the base is untouched after
    read = reader.load(file, base)
    assert {path: layer.down.shape for path, layer in read.layers.items()} == {
        path: layer.down.shape for path, layer in adapter.layers.items()
    }
    with AdapterCache(components, base, 2**30).apply_lora([Lora(file, 1.0)]):
        here = _predicted(family, pipeline)
    assert torch.equal(_predicted(family, pipeline), before)
    assert float((here - before).abs().max()) > 0.01

    # And diffusers, which knows nothing of this program, predicts the same with the file
    if layout == "kohya" and family.name == "flux":
        pytest.skip("diffusers reads kohya's files for FLUX.1 at its full width alone: tests of flux_keys compare that")
    other = family.load(folder, torch.float32, torch.device("cpu"))
    other.load_lora_weights(tmp_path, weight_name=file.name, use_safetensors=True)
    torch.testing.assert_close(_predicted(family, other), here, rtol=0, atol=1e-4)
