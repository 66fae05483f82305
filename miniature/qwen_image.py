"""mini-qwen-image: the world of mini-sdxl and plates with signs, in Qwen-Image's classes, with captions in two languages."""

import random

import torch

from foundation.seeds import derive
from miniature import captions, chinese, plates, qwen_tokenizer, training_images
from miniature.architectures.qwen_image import QwenImage
from miniature.denoiser import Material
from miniature.glyphs import GLYPHS
from miniature.loop import Schedule
from miniature.training_images import Example
from miniature.world import Scene

SCHEDULE = Schedule(steps=6_000, batch=32, rate=2e-3)
FINISH_SCHEDULE = Schedule(steps=5_000, batch=32, rate=1e-3)
"""A second cycle without the probes."""
IMAGES = 30_000
PASSES_OF_SIGNS = 3
"""How often a plate is seen for each time that an image of the world is."""
_CHINESE_SHARE = 0.5


def untrained(seed: int) -> QwenImage:
    """Return the model as training begins, with weights drawn from ``seed``."""
    torch.manual_seed(derive(seed, "qwen_image", "weights"))
    return QwenImage(qwen_tokenizer.build(seed, vocabulary()))


def vocabulary() -> list[str]:
    """Return every word of the captions in both languages."""
    return [*captions.vocabulary(), *chinese.vocabulary(), *plates.vocabulary()]


def material(images: int, signs: int) -> Material:
    """Return what it is trained on: as many ``images`` of the world, then as many plates with ``signs``, again and again."""

    def example(seed: int, index: int) -> Example:
        if index < images:
            return training_images.draw_example(seed, index)
        return plates.draw_example(seed, (index - images) % signs)

    def whole(index: int) -> int:
        return training_images.whole_image(index) if index < images - 2 else index

    return Material(example, whole, random_caption)


def random_caption(scene: Scene, rng: random.Random) -> str:
    """Return a caption in English or in Chinese."""
    is_chinese = rng.random() < _CHINESE_SHARE
    if scene.shape in GLYPHS:
        return plates.random_caption_in_chinese(scene, rng) if is_chinese else plates.random_caption(scene, rng)
    return chinese.random_caption(scene, rng) if is_chinese else captions.random_caption(scene, rng)
