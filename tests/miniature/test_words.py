"""The text encoders learn what words mean before anything is denoised, and the denoiser stays as it was."""

from pathlib import Path

import pytest
import torch

from miniature import denoiser, qwen_image, training_images, words
from miniature.captions import full_caption
from miniature.loop import Schedule
from miniature.probes import attribute_labels, attribute_values

pytestmark = pytest.mark.slow


def test_captions_are_told_apart_after_a_few_steps(tmp_path: Path) -> None:
    # Given an untrained model
    model = qwen_image.untrained(0)
    before = {name: weight.clone() for name, weight in model.denoiser.state_dict().items()}
    # When it is taught words alone
    schedule = Schedule(steps=60, batch=24, rate=2e-3, average=0.8, save_every=60)
    taught = words.teach("test", model, denoiser.WORLD, 1000, 0, tmp_path, schedule)
    # Then the probes tell where an object is and how large, in other captions
    scenes = [training_images.draw_example(1, index).scene for index in range(64)]
    with torch.no_grad():
        text = taught.encode_text(taught.tokenize([full_caption(scene) for scene in scenes]))
        (probe,) = taught.probes
        logits = probe.layer(taught.probe_inputs(text)[0]).split(probe.value_counts, dim=1)
    labels = attribute_labels(scenes)
    right = {
        name: float((logits[index].argmax(dim=1) == labels[:, index]).float().mean())
        for index, name in enumerate(attribute_values())
    }
    assert right["size"] > 0.8
    assert right["position"] > 0.7
    # And the denoiser is what it was
    assert all(torch.equal(weight, before[name]) for name, weight in taught.denoiser.state_dict().items())
