"""Fewer bits: what is quantized, how far it is from what it was, and that its size is the one that was predicted."""

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from zthumb import families
from zthumb.adapters.hooks import base_weight
from zthumb.memory import usage
from zthumb.memory.eight_bit_convolution import EightBitConvolution, Format
from zthumb.memory.estimate import ImageShape, estimate
from zthumb.memory.nf4_linear import Nf4Linear
from zthumb.memory.quantize import Quantization, quantize, quantized_layers
from zthumb.sources.local import family_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("kind", "largest_error"), [("int8", 0.5 / 127), ("fp8", 2**-4)])
def test_a_convolution_in_eight_bits_computes_nearly_what_it_did(kind: Format, largest_error: float) -> None:
    # Given a convolution of which one channel has far smaller weights than the others
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 4, 3, stride=2, padding=1)
    convolution.weight.data[1] *= 1e-3
    convolution.weight.data[2] = 0
    inputs = torch.randn(2, 8, 16, 16)
    # When its weight is kept in eight bits
    rounded = EightBitConvolution(convolution, kind)
    # Then each channel is off by no more than its own largest weight's rounding, and so is the output
    largest = convolution.weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    assert ((rounded.original_weight() - convolution.weight).abs() <= 1.01 * largest_error * largest).all()
    before, after = convolution(inputs), rounded(inputs)
    assert after.shape == before.shape
    assert (after - before).abs().mean() < 0.03 * before.abs().mean()
    assert rounded.weight.nbytes == convolution.weight.numel()


def test_moving_to_another_precision_changes_no_weight_of_a_convolution_in_eight_bits() -> None:
    rounded = EightBitConvolution(nn.Conv2d(4, 4, 1), "fp8")
    bits = rounded.weight.clone()
    assert torch.equal(rounded.to(torch.bfloat16).weight, bits)
    assert rounded(torch.ones(1, 4, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_nf4_computes_in_the_precision_of_its_inputs_and_gives_its_weight_back() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32)
    weight = linear.weight.detach().clone()
    rounded = Nf4Linear(linear).to(CPU)
    assert rounded(torch.ones(2, 64)).dtype == torch.float32
    assert rounded(torch.ones(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert (base_weight(rounded) - weight).abs().mean() < 0.1 * weight.abs().mean()


@pytest.mark.parametrize("kind", ["int8wo", "fp8wo", "int8dq", "nf4"])
@pytest.mark.parametrize("name", ["mini-sdxl", "mini-z-image"])
def test_the_weights_take_what_is_predicted(name: str, kind: Quantization) -> None:
    # Given what the weights of the denoiser are predicted to take
    base = ROOT / "models" / name
    family = families.get(family_of(base))
    predicted = estimate(family, base, ImageShape(128, 128), torch.float32, kind).weights[family.denoiser_component]
    # When they are quantized
    denoiser = family.denoiser(family.load(base, torch.float32, CPU))
    layers = quantized_layers(denoiser, kind)
    scales = sum(4 * layer.weight.shape[0] for layer in layers.values()) if kind != "nf4" else 0
    quantize(denoiser, kind, CPU, CPU)
    # Then they do, with the scale of each row where there is one, which in miniature is much
    taken = sum(usage.bytes_of(parameter) for parameter in denoiser.parameters())
    assert taken - scales <= 1.01 * predicted
    assert taken >= 0.99 * predicted


def test_the_first_and_last_layers_are_not_quantized() -> None:
    with torch.device("meta"):
        family = families.get("sdxl")
        unet = family.build_component("unet", family.configuration(family.references[0], "unet"))
    layers = quantized_layers(unet, "int8wo")
    assert not {"conv_in", "conv_out", "time_embedding.linear_1"} & layers.keys()
    assert "down_blocks.0.resnets.0.conv1" in layers
    # Nearly all of its weights
    total = sum(parameter.numel() for parameter in unet.parameters())
    assert sum(layer.weight.numel() for layer in layers.values()) > 0.97 * total
