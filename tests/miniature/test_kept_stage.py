"""Weights of a finished stage are kept in half precision, and a build goes on with them."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from foundation.errors import BadInput
from miniature import flux, kept_stage, z_image
from miniature.architectures.flux import Flux


def _untrained(miniature: Path, seed: int) -> Flux:
    return flux.untrained(miniature, CLIPTokenizer.from_pretrained(miniature / "tokenizer"), seed)


def test_what_was_trained_comes_back_as_exact_as_half_precision_is(miniature: Path, tmp_path: Path) -> None:
    trained, untrained = (_untrained(miniature, seed) for seed in (1, 2))
    kept_stage.keep("stage", trained, tmp_path)
    restored = kept_stage.restore("stage", untrained, tmp_path)
    assert restored is untrained
    pairs = zip(trained.parameters(), restored.parameters(), strict=True)
    assert all(torch.allclose(before, after, rtol=1e-3, atol=1e-4) for before, after in pairs)


def test_where_nothing_was_kept_the_model_stays_as_it_is(miniature: Path, tmp_path: Path) -> None:
    model = _untrained(miniature, 1)
    before = [parameter.clone() for parameter in model.parameters()]
    assert kept_stage.restore("stage", model, tmp_path) is None
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_weights_of_another_model_are_refused(miniature: Path, tmp_path: Path) -> None:
    kept_stage.keep("stage", z_image.untrained(1), tmp_path)
    with pytest.raises(BadInput, match="another model"):
        kept_stage.restore("stage", _untrained(miniature, 1), tmp_path)


def test_the_stage_that_is_kept_fits_the_build(miniature: Path) -> None:
    assert kept_stage.restore("flux", _untrained(miniature, 0)) is not None
