"""Weights that wait to be copied: adapters stay, tied weights stay tied, and copies have the precision that is asked for."""

import torch
from torch import nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from zthumb.memory.nf4_linear import Nf4Linear
from zthumb.memory.waiting_weights import WaitingWeights

CPU = torch.device("cpu")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.second(self.first(inputs))
        return output


def test_what_waits_has_no_data_and_is_copied_bit_for_bit_in_the_precision_asked_for() -> None:
    model = Tied().to(torch.float16)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    weights = WaitingWeights(model.modules(), CPU, torch.float32)

    assert {(each.device.type, each.dtype) for each in model.parameters()} == {("meta", torch.float32)}
    weights.bring()
    assert {(each.device.type, each.dtype) for each in model.parameters()} == {("cpu", torch.float32)}
    assert all(torch.equal(now.half(), before[name]) for name, now in model.state_dict().items())
    assert model.first.weight is model.second.weight
    weights.drop()
    assert {each.device.type for each in model.parameters()} == {"meta"}


def test_a_model_that_is_cast_while_it_waits_comes_in_that_precision() -> None:
    model = Tied().to(torch.float16)
    weights = WaitingWeights(model.modules(), CPU)

    model.to(torch.float32)
    weights.bring()
    assert {each.dtype for each in model.parameters()} == {torch.float32}


def test_changing_a_copy_changes_nothing_that_waits() -> None:
    model = Tied().to(torch.float16)
    weights = WaitingWeights(model.modules(), CPU, torch.float32)
    weights.bring()
    before = model.first.weight.detach().clone()

    with torch.no_grad():
        model.first.weight.zero_()
    weights.drop()
    weights.bring()
    assert torch.equal(model.first.weight, before)


def test_what_was_added_to_a_module_stays() -> None:
    model = Tied()
    first, added = model.first, nn.Linear(4, 4)
    weights = WaitingWeights(model.modules(), torch.device("meta"))
    model.first = nn.Sequential(first, added)  # type: ignore[assignment]  # as PEFT wraps a module

    for _ in range(2):
        weights.bring()
        weights.drop()
    assert {parameter.device.type for parameter in added.parameters()} == {"cpu"}


def test_weights_can_be_read_where_they_wait() -> None:
    model = Tied()
    before = list(model.parameters())
    weights = WaitingWeights(model.modules(), torch.device("meta"))

    weights.show()
    assert all(now is then for now, then in zip(model.parameters(), before, strict=True))


def test_quantized_weights_come_as_they_are() -> None:
    model, inputs = Tied(), torch.randn(2, 4)
    quantize_(model, Int8WeightOnlyConfig())
    expected = model(inputs)
    weights = WaitingWeights(model.modules(), CPU)

    weights.bring()

    assert torch.equal(model(inputs), expected)
    # A stream is told of the tensors that they are made of.
    assert {type(tensor) for tensor in weights.copies()} <= {torch.Tensor, nn.Parameter}


def test_constants_of_four_bits_stay_with_the_weights_that_wait() -> None:
    # Given a layer in four bits whose weights wait
    torch.manual_seed(0)
    layer = Nf4Linear(nn.Linear(64, 32)).to(CPU)
    inputs, waiting = torch.randn(2, 64), layer.weight
    expected = layer(inputs)
    weights = WaitingWeights([layer], CPU)
    # When they are brought
    weights.bring()
    # Then the copy has constants of its own: moving them moves none of what waits
    assert layer.weight.quant_state is not waiting.quant_state
    assert torch.equal(layer(inputs), expected)
    weights.drop()
    weights.show()
    assert layer.weight is waiting
