"""A small text encoder before it is trained: new, or one that was trained on text, with a projection to the large one's width."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from foundation.errors import BadInput
from foundation.files import read_json
from zthumb.families.base import PROJECTED_WIDTH
from zthumb.families.shared.t5_with_projection import T5EncoderWithProjection


def new(teacher: T5Config, layers: int, width: int) -> T5EncoderWithProjection:
    """Return an encoder of ``layers`` layers of ``width``, with heads of the teacher's size and its activation.

    Raises ``BadInput`` for a width that is no multiple of it.
    """
    if width % teacher.d_kv:
        raise BadInput(f"--width {width}: must be a multiple of {teacher.d_kv}, the size of a head.")
    settings = {
        **teacher.to_dict(),
        "d_model": width,
        "d_ff": round(teacher.d_ff / teacher.d_model * width),
        "num_layers": layers,
        "num_heads": width // teacher.d_kv,
        PROJECTED_WIDTH: teacher.d_model,
    }
    return _with_new_projection(T5Config(**settings))


def from_pretrained(folder: Path, teacher: T5Config) -> T5EncoderWithProjection:
    """Return the T5 encoder in ``folder`` with a new projection; ``BadInput`` if its vocabulary is not the teacher's."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: is not a text encoder: expected a folder with config.json and weights.")
    values = read_json(folder / "config.json")
    if values.get("model_type") != "t5" or values.get("vocab_size") != teacher.vocab_size:
        raise BadInput(
            f"{folder}: a {values.get('model_type')} with {values.get('vocab_size')} tokens cannot read those of the large "
            f"encoder, a t5 with {teacher.vocab_size}."
        )
    encoder = T5EncoderModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    student = _with_new_projection(T5Config(**{**encoder.config.to_dict(), PROJECTED_WIDTH: teacher.d_model}))
    student.encoder = encoder
    return student


def _with_new_projection(config: T5Config) -> T5EncoderWithProjection:
    student = T5EncoderWithProjection(config)
    for layer in student.final_projection:
        if isinstance(layer, nn.Linear):
            # T5 would draw them as large as embeddings: states a hundred times the teacher's, from which nothing is learned.
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return student
