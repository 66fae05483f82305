"""Conditioning is selected, joined and overridden by image, whatever its tensors mean."""

import pytest
import torch

from zthumb.diffusion.conditioning import Conditioning


@pytest.fixture
def conditioning() -> Conditioning:
    return Conditioning.stacked(embeds=torch.arange(6.0).reshape(3, 2), sizes=torch.tensor([[1], [2], [3]]))


def test_images_are_selected_by_index_and_by_mask(conditioning: Conditioning) -> None:
    by_index = conditioning.select([2, 0, 2])
    by_mask = conditioning.select(torch.tensor([True, False, True]))

    assert by_index.stack("sizes").flatten().tolist() == [3, 1, 3]
    assert by_mask.stack("sizes").flatten().tolist() == [1, 3]
    assert len(by_mask) == 2


def test_two_are_joined_in_their_order(conditioning: Conditioning) -> None:
    joined = conditioning.concat(conditioning.select([0]))

    assert joined.stack("embeds").tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]


def test_lengths_may_differ_between_images() -> None:
    ragged = Conditioning({"embeds": (torch.zeros(2, 4), torch.zeros(5, 4))})

    assert [len(embeds) for embeds in ragged.select([1, 0]).tensors["embeds"]] == [5, 2]


def test_some_images_are_overridden_and_other_names_stay(conditioning: Conditioning) -> None:
    empty = Conditioning.stacked(embeds=torch.full((1, 2), -1.0), other=torch.zeros(1, 1))

    changed = conditioning.override([False, True, False], empty)

    assert changed.stack("embeds").tolist() == [[0, 1], [-1, -1], [4, 5]]
    assert changed.stack("sizes").flatten().tolist() == [1, 2, 3]
    assert "other" not in changed


def test_a_dtype_is_for_floating_point_tensors_alone(conditioning: Conditioning) -> None:
    half = conditioning.to(dtype=torch.float16)

    assert (half.stack("embeds").dtype, half.stack("sizes").dtype) == (torch.float16, torch.int64)
