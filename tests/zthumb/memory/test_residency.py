"""Weights that come and go: adapters stay, tied weights stay tied, and what was dropped comes back bit for bit."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from zthumb.memory.residency import AllResident, InMainMemory, Offloaded, OffloadedWeights, OnDisk

ELSEWHERE = torch.device("meta")
"""Stands for a card: what is on it is seen, what it holds is not needed."""


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("frequencies", torch.arange(4.0))


def _in_main_memory(model: nn.Module) -> OffloadedWeights:
    return InMainMemory(model, ELSEWHERE)


def _on_disk(model: nn.Module) -> OffloadedWeights:
    saved = {name: weights.clone() for name, weights in model.state_dict().items()}

    def read() -> nn.Module:
        fresh = _Tied()
        fresh.load_state_dict(saved)
        return fresh.requires_grad_(False)

    return OnDisk(model, read)


def test_weights_in_main_memory_are_copied_to_the_device_and_only_the_copies_dropped() -> None:
    model = _Tied()
    before = list(model.parameters())
    weights = InMainMemory(model, ELSEWHERE)

    weights.bring()
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert model.first.weight is model.second.weight
    assert model.frequencies.device.type == "meta"
    weights.drop()
    assert all(now is then for now, then in zip(model.parameters(), before, strict=True))


def test_weights_on_disk_are_read_again_bit_for_bit() -> None:
    model = _Tied()
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    weights = _on_disk(model)

    weights.drop()
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    weights.bring()
    assert all(torch.equal(now, before[name]) for name, now in model.state_dict().items())


@pytest.mark.parametrize("make", [_in_main_memory, _on_disk])
def test_what_was_added_to_a_module_stays(make: Callable[[nn.Module], OffloadedWeights]) -> None:
    model = _Tied()
    weights, first = make(model), model.first
    added = nn.Linear(4, 4)
    model.first = nn.Sequential(first, added)  # as PEFT wraps a module

    for _ in range(2):
        weights.bring()
        weights.drop()
    assert {parameter.device.type for parameter in added.parameters()} == {"cpu"}


class _Counted(OffloadedWeights):
    def __init__(self) -> None:
        self.events: list[str] = []

    def bring(self) -> None:
        self.events.append("bring")

    def drop(self) -> None:
        self.events.append("drop")


def test_components_are_there_inside_the_outermost_block_alone() -> None:
    first, second = _Counted(), _Counted()
    residency = Offloaded({"first": first, "second": second})

    with residency.using(["first", "tokenizer"]), residency.using(["first", "second"]):
        assert (first.events, second.events) == (["bring"], ["bring"])
    assert (first.events, second.events) == (["bring", "drop"], ["bring", "drop"])


def test_components_are_dropped_when_the_block_fails() -> None:
    weights = _Counted()

    with pytest.raises(RuntimeError), Offloaded({"first": weights}).using(["first"]):
        raise RuntimeError
    assert weights.events == ["bring", "drop"]


def test_components_stay_where_all_is_resident() -> None:
    model = _Tied()
    before = list(model.parameters())

    with AllResident().using(["first"]):
        assert all(now is then for now, then in zip(model.parameters(), before, strict=True))
    assert all(now is then for now, then in zip(model.parameters(), before, strict=True))
