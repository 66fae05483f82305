"""Components that take turns, each with its weights on the device while it works."""

import pytest
import torch
from torch import nn

from zthumb.memory.residency import AllResident, Offloaded, OffloadedModel

ELSEWHERE = torch.device("meta")
"""Stands for a card: what is on it is seen, what it holds is not needed."""


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("means", torch.zeros(4, dtype=torch.float16))
        self.register_buffer("frequencies", torch.arange(4.0), persistent=False)


class _Counted(OffloadedModel):
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
    model = _Counted()

    with pytest.raises(RuntimeError), Offloaded({"first": model}).using(["first"]):
        raise RuntimeError
    assert model.events == ["bring", "drop"]


def test_weights_can_be_read_without_the_device() -> None:
    model = _Model()
    before = model.layer.weight
    residency = Offloaded({"first": OffloadedModel(model, ELSEWHERE)})

    with residency.reading(["first"]):
        assert model.layer.weight is before
    assert model.layer.weight is not before


def test_reading_while_weights_are_used_leaves_them_on_the_device() -> None:
    model = _Model()
    before = model.layer.weight.detach().clone()
    residency = Offloaded({"first": OffloadedModel(model, torch.device("cpu"), torch.float64)})

    with residency.using(["first"]):
        with residency.reading(["first"]):
            assert model.layer.weight.dtype == torch.float32
        assert torch.equal(model.layer.weight, before.double())


def test_buffers_stay_on_the_device_and_computed_ones_keep_their_precision() -> None:
    model = _Model()
    OffloadedModel(model, torch.device("cpu"), torch.bfloat16)

    assert (model.means.dtype, model.frequencies.dtype) == (torch.bfloat16, torch.float32)
    OffloadedModel(model, ELSEWHERE)
    assert {buffer.device.type for buffer in model.buffers()} == {"meta"}


def test_components_stay_where_all_is_resident() -> None:
    model = _Model()
    before = model.layer.weight

    with AllResident().using(["first"]), AllResident().reading(["first"]):
        assert model.layer.weight is before
    assert model.layer.weight is before
