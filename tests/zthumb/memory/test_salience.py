"""Factors that divide what rounding loses between inputs and weights, and layers that are balanced by them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from foundation.errors import BadInput
from zthumb.memory import salience
from zthumb.memory.balanced_linear import BalancedLinear
from zthumb.memory.quantize import quantize

CPU = torch.device("cpu")
WIDTH = 64


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(inputs)
        return output


class Denoiser(nn.Module):
    _repeated_blocks = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList([Block()])
        self.requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.blocks[0](self.first(inputs))
        return output


def _inputs_with_outliers() -> torch.Tensor:
    inputs = torch.randn(256, WIDTH, generator=torch.Generator().manual_seed(1))
    inputs[:, 3] *= 40
    return inputs


def _observed(block: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    activations = salience.Activations()
    with activations.observe(block):
        block(inputs)
    return activations.factors(block, 0.5)


def test_a_balanced_layer_computes_the_same() -> None:
    linear, inputs = nn.Linear(WIDTH, WIDTH), _inputs_with_outliers()
    factors = torch.rand(WIDTH) + 0.5

    balanced = BalancedLinear(linear, factors)

    torch.testing.assert_close(balanced(inputs), linear(inputs))
    torch.testing.assert_close(balanced.original_weight(), linear.weight.float())


def test_outliers_are_divided_between_both_sides_and_less_is_lost() -> None:
    inputs, errors = _inputs_with_outliers(), []
    for is_balanced in (False, True):
        denoiser = Denoiser()
        denoiser.first = nn.Identity()  # type: ignore[assignment]
        expected = denoiser(inputs)
        factors = _observed(denoiser, inputs) if is_balanced else {}
        quantize(denoiser, "int8dq", CPU, CPU, factors)
        errors.append(float((denoiser(inputs) - expected).norm() / expected.norm()))

    assert errors[1] < 0.5 * errors[0]


def test_only_layers_in_blocks_are_quantized() -> None:
    denoiser = Denoiser()
    quantize(denoiser, "int8wo", CPU, CPU)

    assert type(denoiser.first.weight) is nn.Parameter
    assert "Int8" in type(denoiser.blocks[0].layer.weight).__name__


def test_factors_are_read_as_they_were_written(tmp_path: Path) -> None:
    denoiser, file = Denoiser(), tmp_path / "factors.safetensors"
    factors = _observed(denoiser, _inputs_with_outliers())
    salience.write(file, factors, "a" * 64, "int8dq")

    found = salience.read(file, denoiser, "a" * 64, "int8dq")

    assert found.keys() == factors.keys() == {"blocks.0.layer"}
    assert all(torch.equal(found[name], factors[name]) for name in factors)


@pytest.mark.parametrize(
    ("base", "quantization", "message"),
    [("b" * 64, "int8dq", "for another base"), ("a" * 64, "int8wo", "is calibrated for int8dq, not for int8wo")],
)
def test_a_file_for_something_else_is_refused(tmp_path: Path, base: str, quantization: str, message: str) -> None:
    denoiser, file = Denoiser(), tmp_path / "factors.safetensors"
    salience.write(file, _observed(denoiser, _inputs_with_outliers()), "a" * 64, "int8dq")

    with pytest.raises(BadInput, match=message):
        salience.read(file, denoiser, base, quantization)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "factors.safetensors"
    file.write_bytes(b"no tensors")

    with pytest.raises(BadInput, match="is no file of `zthumb calibrate`"):
        salience.read(file, Denoiser(), "a" * 64, "int8dq")
