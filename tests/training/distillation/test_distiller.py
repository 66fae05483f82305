"""A small text encoder learns what the large one gives, and a run that was stopped ends as the one that was not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from foundation.errors import BadInput
from training.distillation import student
from training.distillation.distiller import Distiller, Schedule

LARGE = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu")
CAPTIONS = [f"{first} {second}" for first in "abcdefgh" for second in "rstuvwxy"]


def tokenize(captions: Sequence[str]) -> Tensor:
    return torch.tensor([[ord(letter) % 64 for letter in caption] for caption in captions])


def _distiller() -> Distiller:
    torch.manual_seed(0)
    teacher = T5EncoderModel(LARGE).eval()
    return Distiller(student.new(LARGE, layers=1, width=16), teacher, tokenize, torch.device("cpu"), seed=3)


def _ignore(step: int, loss: float) -> None:
    pass


def test_its_states_come_near_those_of_the_large_one(tmp_path: Path) -> None:
    distiller = _distiller()
    before = distiller.error(CAPTIONS, 16)
    distiller.train(CAPTIONS, Schedule(steps=150, batch=16, rate=1e-2), tmp_path / "state.pt", "key", _ignore)
    assert distiller.error(CAPTIONS, 16) < 0.6 * before


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    schedule = Schedule(steps=6, batch=4, rate=1e-2, save_every=3)
    whole, first, second = (_distiller() for _ in range(3))
    whole.train(CAPTIONS, schedule, tmp_path / "whole.pt", "key", _ignore)

    # When it is stopped after the checkpoint of step 3, and begun again
    def stop(step: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.train(CAPTIONS, schedule, tmp_path / "stopped.pt", "key", stop)
    steps = list[int]()
    second.train(CAPTIONS, schedule, tmp_path / "stopped.pt", "key", lambda step, _: steps.append(step))
    # Then only the rest is done, and the result is the same to the bit
    assert steps == [4, 5, 6]
    ends = [torch.load(tmp_path / name, weights_only=True)["student"] for name in ("whole.pt", "stopped.pt")]
    assert all(torch.equal(weight, ends[1][name]) for name, weight in ends[0].items())


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    schedule, steps = Schedule(steps=2, batch=4, rate=1e-2), list[int]()
    _distiller().train(CAPTIONS, schedule, tmp_path / "state.pt", "key", _ignore)
    _distiller().train(CAPTIONS, schedule, tmp_path / "state.pt", "other", lambda step, _: steps.append(step))
    assert steps == [1, 2]


def test_a_pretrained_encoder_keeps_its_weights(tmp_path: Path) -> None:
    pretrained = T5EncoderModel(T5Config(**{**LARGE.to_dict(), "d_model": 16, "num_heads": 2}))
    pretrained.save_pretrained(tmp_path / "small")
    begun = student.from_pretrained(tmp_path / "small", LARGE)
    assert torch.equal(begun.encoder.shared.weight, pretrained.shared.weight)
    assert begun(tokenize(CAPTIONS[:2]))[0].shape == (2, 3, LARGE.d_model)


def test_an_encoder_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    T5EncoderModel(T5Config(**{**LARGE.to_dict(), "vocab_size": 65})).save_pretrained(tmp_path / "small")
    with pytest.raises(BadInput, match="cannot read those of the large"):
        student.from_pretrained(tmp_path / "small", LARGE)
    with pytest.raises(BadInput, match="must be a multiple of 8"):
        student.new(LARGE, layers=1, width=20)
