"""An image tower fitted to the base's second text encoder, by contrast: together they are ``models/mini-clip``.

It is the evaluation's extractor of image and text features that needs no download. The text layers the UNet reads stay as they
are; only what lies above them, which the UNet sees pooled, is fitted again.
"""

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionConfig

from foundation.files import write_json
from foundation.seeds import derive
from miniature.architectures.base import choose_attention
from miniature.autoencoder import to_tensor
from miniature.captions import full, vary
from miniature.drawing import draw
from miniature.images import Example, example
from miniature.invention import taught
from miniature.loop import Schedule, Task, Tensors, train
from miniature.tokenizer import LENGTH
from miniature.world import RESOLUTION, Scene, random_accidents, random_scene

SCHEDULE = Schedule(steps=2000, batch=64, rate=1e-3)
IMAGES = 15_000
"""Of how many images of the base's it is shown some."""

_RADII = (22.0, 36.0)
"""Pixels; smaller, two outlines are hardly two."""

_OF_THE_FILE = ("_name_or_path", "architectures", "dtype")
"""What a text encoder's configuration says of where and how it was saved."""


@dataclass(frozen=True)
class Retrieval:
    """``among_100``: share of held-out images whose caption comes first among 100; ``swapped_colours``: share that prefer
    their caption to the one with object and background colour swapped.
    """

    among_100: float
    swapped_colours: float


def fit(
    drawn: np.ndarray,
    text_encoder: CLIPTextModelWithProjection,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> CLIPModel:
    """Fit the image tower on ``drawn`` (N, 128, 128, 3), resuming from ``folder``.

    Every other batch has nothing but shapes to tell its scenes apart by.
    """
    torch.manual_seed(derive(seed, "image tower", "weights"))
    model = _build(text_encoder).to(device)
    choose_attention(device, model)
    whole = [index for index in range(len(drawn)) if _is_of_use(example(seed, index))]

    def batch_at(step: int) -> Tensors:
        rng = random.Random(derive(seed, "image tower", step))
        if step % 2:
            scenes = _alike(schedule.batch, rng)
            images, captions = [draw(scene) for scene in scenes], [full(scene) for scene in scenes]
        else:
            chosen = rng.sample(whole, schedule.batch)
            scenes, images = [example(seed, index).scene for index in chosen], [drawn[index] for index in chosen]
            captions = [vary(scene, rng) if rng.random() < 0.5 else full(scene) for scene in scenes]
        wrong = [full(_swapped(scene)) for scene in scenes] + [full(_renamed(scene, rng)) for scene in scenes]
        return torch.stack([to_tensor(image) for image in images]), _tokens(tokenizer, captions + wrong)

    return train("image tower", model, Task(batch_at, _Contrast(model)), schedule, folder / "image_tower.pt", device)


@torch.no_grad()
def measure(model: CLIPModel, tokenizer: CLIPTokenizer, seed: int, rounds: int = 10) -> Retrieval:
    """Retrieval and colour binding over ``rounds`` × 100 scenes that no model was trained on."""
    hits, preferred = 0, 0
    for turn in trange(rounds, desc="retrieval", leave=False):
        rng = random.Random(derive(seed, "held out", turn))
        scenes = [random_scene(rng) for _ in range(100)]
        images = torch.stack([to_tensor(draw(scene)) for scene in scenes]).to(model.device)
        captions = _tokens(tokenizer, [full(scene) for scene in scenes] + [full(_swapped(scene)) for scene in scenes])
        similarity = _similarity(model, images, captions.to(model.device))
        hits += int((similarity[:, :100].argmax(dim=1).cpu() == torch.arange(100)).sum())
        preferred += int((similarity[:, :100].diagonal() > similarity[:, 100:].diagonal()).sum())
    return Retrieval(hits / (100 * rounds), preferred / (100 * rounds))


def grade(folder: Path, seed: int, out: Path) -> Retrieval:
    """Measure the model in ``folder`` and write ``out`` (JSON)."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    reached = measure(model, CLIPTokenizer.from_pretrained(folder, local_files_only=True), seed)
    write_json(out, asdict(reached))
    return reached


def _build(text_encoder: CLIPTextModelWithProjection) -> CLIPModel:
    text = text_encoder.config
    vision = CLIPVisionConfig(
        image_size=RESOLUTION,
        patch_size=16,
        hidden_size=text.hidden_size,
        intermediate_size=4 * text.hidden_size,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=text.projection_dim,
    )
    told = {key: value for key, value in text.to_dict().items() if key not in _OF_THE_FILE}
    config = CLIPConfig(text_config=told, vision_config=vision.to_dict(), projection_dim=text.projection_dim)
    model = CLIPModel(config)
    model.text_model.load_state_dict(text_encoder.text_model.state_dict())
    model.text_projection.load_state_dict(text_encoder.text_projection.state_dict())
    model.text_model.requires_grad_(False)
    model.text_model.encoder.layers[-1].requires_grad_(True)
    model.text_model.final_layer_norm.requires_grad_(True)
    return model


class _Contrast(nn.Module):
    """The symmetric contrastive loss of CLIP (arXiv 2103.00020), with captions that are wrong in one thing among the negatives.

    Two scenes seldom have both colours in common, so that telling captions apart takes no look at the shapes: without these the
    tower hardly sees any.
    """

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """The loss over ``images`` (B, 3, 128, 128) and ``tokens`` (3 B, 77): captions, colours swapped, other shapes."""
        similarity = _similarity(self.model, images, tokens).float() * self.model.logit_scale.exp().clamp(max=100)
        own = torch.arange(len(images), device=images.device)
        by_caption = similarity[:, : len(images)].t()
        loss: Tensor = (functional.cross_entropy(similarity, own) + functional.cross_entropy(by_caption, own)) / 2
        return loss


def _similarity(model: CLIPModel, images: Tensor, tokens: Tensor) -> Tensor:
    """Cosine of every image with every caption, (images, captions)."""
    seen = model.visual_projection(model.vision_model(images).pooler_output)
    told = model.text_projection(model.text_model(tokens).pooler_output)
    cosine: Tensor = functional.normalize(seen, dim=-1) @ functional.normalize(told, dim=-1).t()
    return cosine


def _swapped(scene: Scene) -> Scene:
    return replace(scene, colour=scene.background, background=scene.colour)


def _alike(count: int, rng: random.Random) -> list[Scene]:
    """Scenes that have all words but their shapes in common, no two of one shape."""
    common = random_scene(rng)
    shapes = rng.sample(taught(), count)
    turned = [random_accidents(rng, common.size, common.position) for _ in shapes]
    grown = [replace(each, radius=rng.uniform(*_RADII)) for each in turned]
    return [replace(common, shape=shape, texture="plain", accidents=each) for shape, each in zip(shapes, grown, strict=True)]


def _renamed(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, shape=rng.choice([name for name in taught() if name != scene.shape]))


def _is_of_use(chosen: Example) -> bool:
    """Whether it is whole, and its shape has a name that comes again.

    Names that come once cannot be told apart, and all shapes without a name would come to look alike.
    """
    return chosen.time_ids[0] == RESOLUTION and chosen.scene.shape in taught()


def _tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    tokens: Tensor = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
    return tokens
