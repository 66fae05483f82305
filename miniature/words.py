"""What the words of captions mean, learned by the text encoders and their probes before anything is denoised.

Left to learn words and images at once, mini-qwen-image read a third of its signs after 2,000 steps and drew none of those that
were asked for after 8,000; mini-flux never told the object's colour from the background's, and gave one image in eight the wrong
ones. With the probes alone both read all of it after 200 steps. Words and images go on together afterwards.
"""

import random
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from foundation.seeds import derive
from miniature.architectures.base import Architecture, choose_attention
from miniature.denoiser import Material
from miniature.loop import Schedule, Task, Tensors, train
from miniature.probes import attribute_labels

SCHEDULE = Schedule(steps=400, batch=64, rate=2e-3, average=0.9)
ArchitectureT = TypeVar("ArchitectureT", bound=Architecture)


class _Loss(nn.Module):
    def __init__(self, model: Architecture) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the probes' loss for ``labels`` (B, attributes) of the captions with ``tokens`` (B, length)."""
        return self.model.probe_loss(self.model.encode_text(tokens), labels)


def teach(
    name: str, model: ArchitectureT, material: Material, count: int, seed: int, folder: Path, schedule: Schedule
) -> ArchitectureT:
    """Train the text encoders of ``model`` to tell the attributes in captions of the first ``count`` examples of ``material``."""
    device = next(model.denoiser.parameters()).device
    choose_attention(device, *model.text_encoders)
    encoders = {id(parameter) for encoder in model.text_encoders for parameter in encoder.parameters()}

    def batch_at(step: int) -> Tensors:
        rng = random.Random(derive(seed, f"{name} words", step))
        scenes = [material.example(seed, rng.randrange(count)).scene for _ in range(schedule.batch)]
        return model.tokenize([material.caption(scene, rng) for scene in scenes]), attribute_labels(scenes)

    matrices = [matrix for matrix in model.matrices if id(matrix) in encoders]
    return train(f"{name} words", model, Task(batch_at, _Loss(model), matrices), schedule, folder / "words.pt", device)
