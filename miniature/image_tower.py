"""An image tower fitted contrastively to the base's second text encoder: together they are ``models/mini-clip``.

It is the evaluation's extractor of image and text features that needs no download. The text layers whose states the UNet reads
stay frozen; only the layers above them, which reach the UNet through the pooled embedding, are trained again.
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
from miniature.captions import full_caption, random_caption
from miniature.drawing import draw
from miniature.invention import taught_shapes
from miniature.loop import Schedule, Task, Tensors, train
from miniature.tokenizer import MAX_LENGTH
from miniature.training_images import Example, draw_example
from miniature.world import RESOLUTION, Scene, random_accidents, random_scene

SCHEDULE = Schedule(steps=2000, batch=64, rate=1e-3)
IMAGES = 15_000
"""The tower's training images are chosen from this many of the base's."""

_RADII = (22.0, 36.0)
"""Pixels; two smaller outlines can hardly be told apart."""

_FILE_KEYS = ("_name_or_path", "architectures", "dtype")
"""Keys of a text encoder's configuration that describe the saved file and not the model."""


@dataclass(frozen=True)
class Retrieval:
    """Retrieval and colour binding, as shares of held-out images.

    ``among_100``: the image's caption ranks first among 100; ``swapped_colours``: the image's caption ranks above the one with
    object and background colour swapped.
    """

    among_100: float
    swapped_colours: float


def fit(
    training_images: np.ndarray,
    text_encoder: CLIPTextModelWithProjection,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> CLIPModel:
    """Fit the image tower on ``training_images`` (N, 128, 128, 3), resuming from ``folder``.

    In every other batch the scenes differ in nothing but their shapes.
    """
    torch.manual_seed(derive(seed, "image tower", "weights"))
    model = _build(text_encoder).to(device)
    choose_attention(device, model)
    usable = [index for index in range(len(training_images)) if _is_usable(draw_example(seed, index))]

    def batch_at(step: int) -> Tensors:
        rng = random.Random(derive(seed, "image tower", step))
        if step % 2:
            scenes = _scenes_differing_in_shape(schedule.batch, rng)
            images, captions = [draw(scene) for scene in scenes], [full_caption(scene) for scene in scenes]
        else:
            indices = rng.sample(usable, schedule.batch)
            scenes = [draw_example(seed, index).scene for index in indices]
            images = [training_images[index] for index in indices]
            captions = [random_caption(scene, rng) if rng.random() < 0.5 else full_caption(scene) for scene in scenes]
        wrong_colours = [full_caption(_swap_colours(scene)) for scene in scenes]
        wrong_shapes = [full_caption(_replace_shape(scene, rng)) for scene in scenes]
        pixels = torch.stack([to_tensor(image) for image in images])
        return pixels, _tokenize(tokenizer, captions + wrong_colours + wrong_shapes)

    return train("image tower", model, Task(batch_at, _ContrastiveLoss(model)), schedule, folder / "image_tower.pt", device)


@torch.no_grad()
def measure(model: CLIPModel, tokenizer: CLIPTokenizer, seed: int, rounds: int = 10) -> Retrieval:
    """Measure retrieval and colour binding over ``rounds`` × 100 scenes that no model was trained on."""
    ranked_first, ranked_above_swapped = 0, 0
    for number in trange(rounds, desc="retrieval", leave=False):
        rng = random.Random(derive(seed, "held out", number))
        scenes = [random_scene(rng) for _ in range(100)]
        images = torch.stack([to_tensor(draw(scene)) for scene in scenes]).to(model.device)
        captions = [full_caption(scene) for scene in scenes] + [full_caption(_swap_colours(scene)) for scene in scenes]
        similarity = _similarity(model, images, _tokenize(tokenizer, captions).to(model.device))
        ranked_first += int((similarity[:, :100].argmax(dim=1).cpu() == torch.arange(100)).sum())
        ranked_above_swapped += int((similarity[:, :100].diagonal() > similarity[:, 100:].diagonal()).sum())
    return Retrieval(ranked_first / (100 * rounds), ranked_above_swapped / (100 * rounds))


def grade_model(folder: Path, seed: int, out: Path) -> Retrieval:
    """Measure the model in ``folder`` and write ``out`` (JSON)."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    retrieval = measure(model, CLIPTokenizer.from_pretrained(folder, local_files_only=True), seed)
    write_json(out, asdict(retrieval))
    return retrieval


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
    text_config = {key: value for key, value in text.to_dict().items() if key not in _FILE_KEYS}
    config = CLIPConfig(text_config=text_config, vision_config=vision.to_dict(), projection_dim=text.projection_dim)
    model = CLIPModel(config)
    model.text_model.load_state_dict(text_encoder.text_model.state_dict())
    model.text_projection.load_state_dict(text_encoder.text_projection.state_dict())
    model.text_model.requires_grad_(False)
    model.text_model.encoder.layers[-1].requires_grad_(True)
    model.text_model.final_layer_norm.requires_grad_(True)
    return model


class _ContrastiveLoss(nn.Module):
    """CLIP's symmetric contrastive loss (arXiv 2103.00020), with captions that are wrong in one attribute among the negatives.

    Two scenes seldom have both colours in common, so that captions can be told apart without the shapes: without these negatives
    the tower hardly learns shapes.
    """

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Return the loss over ``images`` (B, 3, 128, 128) and ``tokens`` (3 B, 77): captions, colours swapped, other shapes."""
        logits = _similarity(self.model, images, tokens).float() * self.model.logit_scale.exp().clamp(max=100)
        labels = torch.arange(len(images), device=images.device)
        logits_by_caption = logits[:, : len(images)].t()
        loss: Tensor = (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits_by_caption, labels)) / 2
        return loss


def _similarity(model: CLIPModel, images: Tensor, tokens: Tensor) -> Tensor:
    """Return the cosine similarity of every image with every caption, (images, captions)."""
    image_embeds = model.visual_projection(model.vision_model(images).pooler_output)
    text_embeds = model.text_projection(model.text_model(tokens).pooler_output)
    cosine: Tensor = functional.normalize(image_embeds, dim=-1) @ functional.normalize(text_embeds, dim=-1).t()
    return cosine


def _swap_colours(scene: Scene) -> Scene:
    return replace(scene, colour=scene.background, background=scene.colour)


def _scenes_differing_in_shape(count: int, rng: random.Random) -> list[Scene]:
    """Return scenes that have all words but their shapes in common, each with a different shape."""
    common = random_scene(rng)
    shapes = rng.sample(taught_shapes(), count)
    drawn = [random_accidents(rng, common.size, common.position) for _ in shapes]
    resized = [replace(accidents, radius=rng.uniform(*_RADII)) for accidents in drawn]
    return [
        replace(common, shape=shape, texture="plain", accidents=accidents)
        for shape, accidents in zip(shapes, resized, strict=True)
    ]


def _replace_shape(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, shape=rng.choice([name for name in taught_shapes() if name != scene.shape]))


def _is_usable(example: Example) -> bool:
    """Return whether the example is neither cropped nor enlarged, and its shape has a name that recurs.

    Names that occur once cannot be told apart, and all shapes without a name would come to look alike.
    """
    return example.time_ids[0] == RESOLUTION and example.scene.shape in taught_shapes()


def _tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    tokens: Tensor = tokenizer(
        captions, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens
