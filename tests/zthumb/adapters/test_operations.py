"""Merging, resizing and comparing agree with computations on the dense matrices."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.distance import difference, norm
from zthumb.adapters.merge import merge
from zthumb.adapters.resize import resize

SHAPES = st.sampled_from([(6, 5), (4, 9), (5, 3, 3, 3), (7, 2, 1, 1)])


@st.composite
def layers(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> Layer:
    out, *rest = shape or draw(SHAPES)
    rank, seed = draw(st.integers(1, 6)), draw(st.integers(0, 10**6))
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn(out, rank, *(1 for _ in rest[1:]), generator=generator)
    return Layer(torch.randn(rank, *rest, generator=generator), up, draw(st.floats(0.1, 3.0)))


def _is_close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-4, atol=1e-4)


@given(SHAPES.flatmap(lambda shape: st.tuples(layers(shape=shape), layers(shape=shape))), st.floats(-2, 2), st.floats(-2, 2))
def test_merged_adapters_change_the_model_by_the_weighted_sum(
    pair: tuple[Layer, Layer], first_weight: float, second_weight: float
) -> None:
    first, second = pair
    merged = merge([(Adapter({"unet.a": first, "unet.b": first}), first_weight), (Adapter({"unet.a": second}), second_weight)])
    assert _is_close(merged.layers["unet.a"].change(), first_weight * first.change() + second_weight * second.change())
    assert _is_close(merged.layers["unet.b"].change(), first_weight * first.change())
    assert merged.layers["unet.a"].down.dim() == first.down.dim()


def test_a_dora_cannot_be_merged() -> None:
    layer = Layer(torch.ones(1, 2), torch.ones(2, 1), magnitude=torch.ones(2))
    with pytest.raises(BadInput, match="DoRA"):
        merge([(Adapter({"unet.a": layer}), 1.0)])


@given(layers(), st.integers(1, 6))
def test_a_resized_adapter_is_the_nearest_of_its_rank(layer: Layer, rank: int) -> None:
    resized = resize(Adapter({"unet.a": layer}), rank)
    change = layer.change().flatten(1)
    values = torch.linalg.svdvals(change)
    smaller = resized.adapter.layers["unet.a"]
    assert smaller.rank <= rank
    assert float((change - smaller.change().flatten(1)).square().sum()) == pytest.approx(
        float(values[smaller.rank :].square().sum()), abs=1e-2, rel=1e-3
    )
    assert smaller.down.shape[1:] == layer.down.shape[1:]
    assert smaller.up.shape[2:] == layer.up.shape[2:]


@given(layers(), st.floats(0.3, 0.99))
def test_resizing_by_share_uses_the_smallest_rank_that_keeps_the_share(layer: Layer, keep: float) -> None:
    resized = resize(Adapter({"unet.a": layer}), keep=keep)
    energy = torch.linalg.svdvals(layer.change().flatten(1)).square()
    rank = resized.adapter.layers["unet.a"].rank
    shares = energy.cumsum(0) / energy.sum()
    assert float(shares[rank - 1]) >= keep - 1e-4
    assert rank == 1 or float(shares[rank - 2]) < keep + 1e-4
    assert resized.kept["unet.a"] == pytest.approx(float(shares[rank - 1]), abs=1e-3)


def test_an_adapter_that_changes_nothing_can_be_resized() -> None:
    zero_layer = Layer(torch.ones(4, 3), torch.zeros(5, 4))
    resized = resize(Adapter({"unet.a": zero_layer}), rank=2)
    assert float(resized.adapter.layers["unet.a"].change().abs().max()) == 0


def test_resizing_twice_gives_the_same_bytes() -> None:
    generator = torch.Generator().manual_seed(0)
    adapter = Adapter({"unet.a": Layer(torch.randn(8, 30, generator=generator), torch.randn(20, 8, generator=generator))})
    first, second = (resize(adapter, rank=3).adapter.layers["unet.a"] for _ in range(2))
    assert torch.equal(first.up, second.up)
    assert torch.equal(first.down, second.down)


@settings(max_examples=50)
@given(SHAPES.flatmap(lambda shape: st.tuples(layers(shape=shape), layers(shape=shape))))
def test_a_difference_is_that_of_the_changes(pair: tuple[Layer, Layer]) -> None:
    first, second = pair
    module = difference(Adapter({"unet.a": first}), Adapter({"unet.a": second})).both["unet.a"]
    first_change, second_change = first.change().flatten().double(), second.change().flatten().double()
    cosine = torch.nn.functional.cosine_similarity(first_change, second_change, dim=0)
    assert module.first == pytest.approx(float(first_change.norm()), rel=1e-4)
    assert norm(second) == pytest.approx(float(second_change.norm()), rel=1e-4)
    assert module.apart == pytest.approx(float((first_change - second_change).norm()), rel=1e-3, abs=1e-3)
    assert module.cosine == pytest.approx(float(cosine), abs=1e-4)


@given(layers())
def test_another_factorisation_of_the_same_change_is_no_difference(layer: Layer) -> None:
    rescaled = Layer(layer.down * 2, layer.up / 2, layer.scale)
    assert difference(Adapter({"unet.a": layer}), Adapter({"unet.a": rescaled})).is_none
    with_empty = difference(Adapter({"unet.a": layer}), Adapter({}))
    assert with_empty.only_first == ("unet.a",)
    assert not with_empty.is_none


def test_doras_with_different_norms_differ() -> None:
    plain = Layer(torch.ones(1, 2), torch.ones(3, 1))
    dora, larger = replace(plain, magnitude=torch.ones(3)), replace(plain, magnitude=torch.full((3,), 1.1))
    assert difference(Adapter({"unet.a": dora}), Adapter({"unet.a": dora})).is_none
    for second in (plain, larger):
        assert not difference(Adapter({"unet.a": dora}), Adapter({"unet.a": second})).is_none
    assert difference(Adapter({"unet.a": dora}), Adapter({"unet.a": larger})).both["unet.a"].magnitudes == pytest.approx(0.1)
