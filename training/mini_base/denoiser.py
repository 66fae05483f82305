"""The denoiser: SDXL's UNet in small, trained together with both text encoders.

The encoders are trained with the UNet and not before it: towers trained contrastively first do not keep what the UNet has to
draw, above all the background's colour.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedModel

from foundation.seeds import derive
from training.mini_base.captions import vary
from training.mini_base.focus import focus
from training.mini_base.loop import Schedule, Task, Tensors, train
from training.mini_base.pictures import example
from training.mini_base.reading import Reader, answers
from training.mini_base.tokenizer import LENGTH
from training.model.objective import add_noise, signal_to_noise, squared_errors

SCHEDULE = Schedule(steps=4000, batch=96, rate=1e-3)
FINISH = Schedule(steps=6000, batch=96, rate=8e-4)
"""A second cycle without the readers: the words are learned by then, and shapes go on gaining for long."""

TEXT_WIDTH, TEXT_LAYERS = 128, 3
TOKEN_DEVIATION, POSITION_DEVIATION = 1.0, 0.3
TIME_WIDTH = 32
READING_WEIGHT = 0.1
EMPTY_CAPTION, ZEROED_CAPTION = 0.05, 0.05
TIMESTEPS = 1000
NOISE_SCHEDULE: Mapping[str, float | int | str] = MappingProxyType(
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": TIMESTEPS}
)


class Denoiser(nn.Module):
    """The three trained parts, two text encoders and the UNet, and the readers that only help to train them."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(_text_config(tokenizer))
        self.text_encoder_2 = CLIPTextModelWithProjection(_text_config(tokenizer))
        self.unet = _unet()
        self.state_reader = Reader(2 * TEXT_WIDTH)
        self.pooled_reader = Reader(TEXT_WIDTH)
        for embeddings in (self.text_encoder.embeddings, self.text_encoder_2.text_model.embeddings):
            # CLIP's own start, a deviation of 0.02, leaves two prompts nearly alike beside what all prompts share: the UNet then
            # learns colours late and places not at all.
            nn.init.normal_(embeddings.token_embedding.weight, std=TOKEN_DEVIATION)
            nn.init.normal_(embeddings.position_embedding.weight, std=POSITION_DEVIATION)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, 77) → text states (B, 77, 256) and the pooled embedding (B, 128)."""
        return encode_text(self.text_encoder, self.text_encoder_2, tokens)


def encode_text(first: CLIPTextModel, second: CLIPTextModelWithProjection, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, 77) → both towers' penultimate states (B, 77, 256) and the pooled embedding (B, 128), as SDXL does."""
    one, other = first(tokens, output_hidden_states=True), second(tokens, output_hidden_states=True)
    return torch.cat([one.hidden_states[-2], other.hidden_states[-2]], dim=-1), other.text_embeds


def choose_attention(device: torch.device, *models: UNet2DConditionModel | PreTrainedModel) -> None:
    """Plain matrix products on a CPU: the backward pass of fused attention takes twice as long there at these sizes."""
    for model in models if device.type == "cpu" else ():
        if isinstance(model, UNet2DConditionModel):
            model.set_attn_processor(AttnProcessor())
        else:
            model.set_attn_implementation("eager")


class Batch(NamedTuple):
    """What one step learns from; everything but the noise is looked up, everything random is drawn from the step's seed."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    tokens: Tensor
    keep_text: Tensor
    time_ids: Tensor
    answers: Tensor
    focus: Tensor


class _Loss(nn.Module):
    """The error of the predicted noise, and of what the readers read while they are trained."""

    levels: Tensor

    def __init__(self, model: Denoiser, levels: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("levels", levels)
        self.is_read = next(model.state_reader.parameters()).requires_grad

    def forward(self, *parts: Tensor) -> Tensor:
        """The loss over the tensors of a ``Batch``."""
        batch = Batch(*parts)
        states, pooled = self.model.encode_text(batch.tokens)
        keep = batch.keep_text[:, None]
        conditions = {"text_embeds": pooled * keep, "time_ids": batch.time_ids}
        noisy = add_noise(batch.latents, batch.noise, self.levels, batch.timesteps)
        predicted = self.model.unet(noisy, batch.timesteps, states * keep[..., None], added_cond_kwargs=conditions).sample
        # The weights even out what a step can gain (arXiv 2310.08442): with equal or min-SNR weights the noisiest timesteps,
        # where the caption alone decides, hardly count.
        errors = squared_errors(predicted, batch.noise, batch.focus)
        denoising: Tensor = (errors * signal_to_noise(self.levels, batch.timesteps).rsqrt()).mean()
        if not self.is_read:
            return denoising
        reading: Tensor = self.model.state_reader(states.mean(dim=1), batch.answers)
        pooled_reading: Tensor = self.model.pooled_reader(pooled, batch.answers)
        return denoising + READING_WEIGHT * (reading + pooled_reading)


def fit(
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> Denoiser:
    """Train on scaled ``latents`` (N, 4, 16, 16) of the pictures 0 … N-1 of ``seed``, resuming from ``folder``."""
    torch.manual_seed(derive(seed, "denoiser", "weights"))
    return _train("denoiser", Denoiser(tokenizer).to(device), latents, tokenizer, seed, folder, schedule)


def finish(
    model: Denoiser, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule = FINISH
) -> Denoiser:
    """Train a trained ``model`` over a further schedule, without the readers."""
    for reader in (model.state_reader, model.pooled_reader):
        reader.requires_grad_(False)
    return _train("finish", model, latents, tokenizer, seed, folder, schedule)


def _train(
    name: str, model: Denoiser, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, folder: Path, schedule: Schedule
) -> Denoiser:
    device = next(model.parameters()).device
    choose_attention(device, model.unet, model.text_encoder, model.text_encoder_2)
    levels = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod.to(device)

    def batch_at(step: int) -> Tensors:
        return draw_batch(name, latents, tokenizer, seed, step, schedule.batch)

    return train(name, model, Task(batch_at, _Loss(model, levels)), schedule, folder / f"{name}.pt", device)


def draw_batch(name: str, latents: Tensor, tokenizer: CLIPTokenizer, seed: int, step: int, size: int) -> Batch:
    """The examples, captions, noise and timesteps of one step of the schedule called ``name``."""
    generator = torch.Generator().manual_seed(derive(seed, name, step))
    chosen = torch.randint(len(latents), (size,), generator=generator).tolist()
    rng = random.Random(derive(seed, f"{name} captions", step))
    examples = [example(seed, index) for index in chosen]
    captions = ["" if rng.random() < EMPTY_CAPTION else vary(each.scene, rng) for each in examples]
    padded = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return Batch(
        latents=latents[chosen],
        noise=torch.randn((size, *latents.shape[1:]), generator=generator),
        timesteps=torch.randint(TIMESTEPS, (size,), generator=generator),
        tokens=padded.input_ids,
        keep_text=torch.rand(size, generator=generator) >= ZEROED_CAPTION,
        time_ids=torch.tensor([each.time_ids for each in examples]),
        answers=answers([each.scene for each in examples]),
        focus=focus(examples),
    )


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 4),
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_WIDTH,
    )
