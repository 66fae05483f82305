"""Blocks whose weights come and go: the same results and gradients, one block at a time, and what is chosen to be swapped."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zthumb import families
from zthumb.memory.block_swap import blocks_of, spread, swap_blocks
from zthumb.memory.peak_memory import AllocatorPeak

CPU = torch.device("cpu")
WIDTH, BLOCKS = 512, 6


class Block(nn.Module):
    """A frozen layer with a trained one beside it, as PEFT adds it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.trained = nn.Linear(WIDTH, WIDTH).requires_grad_(False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = torch.tanh(self.base(inputs) + self.trained(inputs))
        return output


class Model(nn.Module):
    _repeated_blocks = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward(self, inputs: Tensor) -> Tensor:
        for block in self.blocks:
            inputs = checkpoint(block, inputs, use_reentrant=False) if torch.is_grad_enabled() else block(inputs)
        return inputs


class Frozen(Model):
    """The same in half precision without what is trained."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            block.trained = nn.Identity()
        self.to(torch.float16).requires_grad_(False)


def test_a_pass_is_the_same_with_one_block_at_a_time() -> None:
    torch.manual_seed(0)
    model, inputs = Frozen(), torch.randn(2, WIDTH)
    expected = copy.deepcopy(model).float()(inputs)
    swap_blocks(model, BLOCKS, CPU, torch.float32)

    with torch.no_grad(), AllocatorPeak(CPU) as memory:
        output = model(inputs)

    assert torch.equal(output, expected)
    one = 4 * (WIDTH + 1) * WIDTH
    assert one < memory.peak < 1.2 * one
    assert {each.device.type for each in model.parameters()} == {"meta"}


def test_gradients_are_the_same_and_come_with_one_block_at_a_time() -> None:
    torch.manual_seed(0)
    model, inputs = Model(), torch.randn(2, WIDTH)
    for block in model.blocks:
        block.base.to(torch.float16)
    reference = copy.deepcopy(model)
    for block in reference.blocks:
        block.base.float()
    reference(inputs).square().sum().backward()
    swapped = swap_blocks(model, BLOCKS, CPU, torch.float32)

    with AllocatorPeak(CPU) as memory:
        model(inputs).square().sum().backward()

    for name, parameter in reference.named_parameters():
        if parameter.grad is not None:
            found = model.get_parameter(name).grad
            assert found is not None
            assert torch.equal(found, parameter.grad)
    trained, one = BLOCKS * 4 * WIDTH**2, 4 * (WIDTH + 1) * WIDTH
    # The gradients, one block's weights, and the product that becomes a gradient.
    assert memory.peak < trained + 2.2 * one
    assert not any("trained" in name for name, each in model.named_parameters() if each.is_meta)
    assert swapped.modules


def test_a_block_that_fails_is_dropped() -> None:
    model = Frozen()
    swap_blocks(model, BLOCKS, CPU, torch.float32)

    with pytest.raises(RuntimeError):
        model(torch.randn(2, WIDTH + 1))
    assert {each.device.type for each in model.parameters()} == {"meta"}


@pytest.mark.parametrize(("blocks", "count", "chosen"), [(6, 6, [0, 1, 2, 3, 4, 5]), (6, 2, [1, 4]), (5, 0, []), (57, 1, [28])])
def test_swapped_blocks_are_spread_evenly(blocks: int, count: int, chosen: list[int]) -> None:
    assert spread(blocks, count) == chosen


@pytest.mark.parametrize("name", sorted(families.names()))
def test_most_of_a_denoiser_is_blocks(name: str) -> None:
    family = families.get(name)
    folder = family.references[0]
    with torch.device("meta"):
        denoiser = family.build_component(family.denoiser_component, family.configuration(folder, family.denoiser_component))

    blocks = blocks_of(denoiser)

    inside = sum(each.numel() for block in blocks for each in block.parameters())
    # Stable Diffusion 1.x is mostly convolutions.
    assert inside > (0.25 if name == "sd15" else 0.8) * sum(each.numel() for each in denoiser.parameters())
