"""Stable Diffusion XL (arXiv 2307.01952): two text encoders, size and crop conditioning, an epsilon objective."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from foundation.errors import BadInput
from foundation.trigger import standing_alone
from zthumb.families.base import NO_WORDS, Conditioning, Family, Prediction
from zthumb.naming import clip, unet, vae
from zthumb.naming.origin import CheckpointKey

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TOKENS, _TIME_IDS, _FACTOR = 77, 6, 8
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
_CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")
_TARGETS = MappingProxyType(
    {
        "attention": _ATTENTION,
        "attention+feed-forward": _ATTENTION + _FEED_FORWARD,
        "attention+feed-forward+convolution": _ATTENTION + _FEED_FORWARD + _CONVOLUTION,
    }
)
_TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
_TEXT_ALL = (*_TEXT_ATTENTION, "fc1", "fc2")
_TEXT_TARGETS = MappingProxyType(
    {"attention": _TEXT_ATTENTION, "attention+feed-forward": _TEXT_ALL, "attention+feed-forward+convolution": _TEXT_ALL}
)


class SDXL(Family):
    """SDXL base 1.0 and everything of its shape, ``models/mini-sdxl`` included."""

    name = "sdxl"
    denoiser_component = "unet"
    adapted_components = ("unet", "text_encoder", "text_encoder_2")
    reference = Path(__file__).parent / "bases" / "stable-diffusion-xl-base-1.0"
    image_components = ("vae",)
    room = _TOKENS - 2
    text_components = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    single_file = MappingProxyType(
        {
            "unet": "model.diffusion_model.",
            "text_encoder": "conditioner.embedders.0.transformer.",
            "text_encoder_2": "conditioner.embedders.1.model.",
            "vae": "first_stage_model.",
        }
    )

    def load(self, folder: Path, dtype: torch.dtype, device: torch.device, denoiser: Any = None) -> Any:
        from diffusers import StableDiffusionXLPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        given = {} if denoiser is None else {self.denoiser_component: denoiser}
        pipeline = StableDiffusionXLPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, add_watermarker=False, **given
        )
        pipeline.set_progress_bar_config(disable=True)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            part.requires_grad_(False)
        return pipeline.to(device)

    def resolution(self, folder: Path) -> int:
        return int(self.configuration(folder, self.denoiser_component)["sample_size"]) * _FACTOR

    def build_component(self, part: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        if part == "unet":
            return UNet2DConditionModel.from_config(dict(configuration))
        if part == "vae":
            return AutoencoderKL.from_config(dict(configuration))
        kind = CLIPTextModel if part == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig(**configuration))

    def origins(self, part: str, model: Any) -> Mapping[str, CheckpointKey]:
        def origin(name: str) -> CheckpointKey:
            if part == "text_encoder":
                return clip.of_transformers(name)
            if part == "text_encoder_2":
                return clip.of_open_clip(name)
            if part == "vae":
                return vae.of_autoencoder(name, len(model.config.block_out_channels))
            module, _, last = name.rpartition(".")
            return CheckpointKey(f"{unet.to_sgm(module, model.config.layers_per_block)}.{last}")

        return {name: origin(name) for name in model.state_dict()}

    def empty_inputs(self, configuration: Mapping[str, Any], count: int, resolution: int) -> tuple[Tensor, Conditioning]:
        import torch

        side, width = resolution // _FACTOR, configuration["cross_attention_dim"]
        pooled = configuration["projection_class_embeddings_input_dim"] - _TIME_IDS * configuration["addition_time_embed_dim"]
        noisy = torch.zeros(count, configuration["in_channels"], side, side)
        states = torch.zeros(count, _TOKENS, width)
        tokens = torch.zeros(count, 2, _TOKENS, dtype=torch.int64)
        return noisy, Conditioning(states, torch.zeros(count, pooled), torch.zeros(count, _TIME_IDS), tokens)

    def decode_empty(self, autoencoder: Any, count: int, size: int) -> None:
        import torch

        side = size // _FACTOR
        autoencoder.decode(torch.zeros(count, autoencoder.config.latent_channels, side, side))

    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        import torch

        vae = _in_full_precision(pipeline.vae)
        with torch.no_grad():
            latents = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mean
        scaled: Tensor = (latents * vae.config.scaling_factor).float()
        return scaled

    def decode_images(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        import torch

        vae = _in_full_precision(pipeline.vae)
        with torch.no_grad(), _tiled(vae, tile):
            images: Tensor = vae.decode(latents.float() / vae.config.scaling_factor).sample
        return images.clamp(-1, 1)

    def lora_targets(self, part: str) -> Mapping[str, Sequence[str]]:
        return _TARGETS if part == "unet" else _TEXT_TARGETS

    def unread(self, part: str, model: Any) -> Sequence[str]:
        # Of the first text encoder the last layer but one is read, and nothing after it.
        if part != "text_encoder":
            return ()
        last = f"encoder.layers.{model.config.num_hidden_layers - 1}."
        return (last, f"text_model.{last}")

    def read(self, pipeline: Any, text: str, words: Mapping[str, int] = NO_WORDS) -> list[list[int]]:
        readers = self.readers(pipeline).values()
        return [_read(text, tokenizer, encoder.config.vocab_size, words) for tokenizer, encoder in readers]

    def framed(self, pipeline: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
        import torch

        pairs = zip(tokens, self.readers(pipeline).values(), strict=True)
        return torch.tensor([_framed(each, tokenizer) for each, (tokenizer, _) in pairs])

    def vectors(self, pipeline: Any, text: str) -> dict[str, Tensor]:
        import torch

        found = {}
        for part, (tokenizer, encoder) in self.readers(pipeline).items():
            rows = encoder.get_input_embeddings().weight
            found[part] = rows[torch.tensor(_plain(text, tokenizer), device=rows.device)].detach().float()
        return found

    def readers(self, pipeline: Any) -> Mapping[str, tuple[Any, Any]]:
        return {
            "text_encoder": (pipeline.tokenizer, pipeline.text_encoder),
            "text_encoder_2": (pipeline.tokenizer_2, pipeline.text_encoder_2),
        }

    def encode_tokens(self, parts: Mapping[str, Any], tokens: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        encoders = (parts["text_encoder"], parts["text_encoder_2"])
        pairs = zip(encoders, tokens.unbind(1), strict=True)
        first, second = (encoder(read.to(encoder.device), output_hidden_states=True) for encoder, read in pairs)
        # SDXL reads the last layer but one of each, and the second one's projection of the whole prompt.
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), _pooled(encoders[1], second, tokens[:, 1])

    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        # A token is a byte at least, and reading a tokenizer takes seconds.
        if all(len(prompt.encode()) <= self.room for prompt in prompts):
            return [""] * len(prompts)
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokens = tokenizer(list(prompts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        pairs = zip(prompts, tokens["offset_mapping"], strict=True)
        return [prompt[offsets[self.room][0] :] if len(offsets) > self.room else "" for prompt, offsets in pairs]

    def alphas_cumprod(self, pipeline: Any) -> Tensor:
        levels: Tensor = pipeline.scheduler.alphas_cumprod
        return levels

    def prediction(self, pipeline: Any) -> Prediction:
        named = pipeline.scheduler.config.prediction_type
        if named not in get_args(Prediction):
            raise BadInput(f"the base's scheduler predicts {named!r}; known are {', '.join(get_args(Prediction))}.")
        predicted: Prediction = named
        return predicted

    def predict(self, denoiser: Any, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        added = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
        predicted: Tensor = denoiser(noisy, timesteps, conditioning.states, added_cond_kwargs=added).sample
        return predicted


def _plain(text: str, tokenizer: Any) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return found


def _read(prompt: str, tokenizer: Any, size: int, words: Mapping[str, int]) -> list[int]:
    """A prompt as tokens; those of ``words`` are numbered from ``size`` on."""
    read, place = list[int](), 0
    ends = accumulate(words.values(), initial=size)
    numbers = {text: list(range(start, end)) for text, (start, end) in zip(words, pairwise(ends), strict=True)}
    longest = sorted(words, key=len, reverse=True)
    for found in standing_alone(longest).finditer(prompt) if words else ():
        assert found.lastindex is not None
        read += _plain(prompt[place : found.start()], tokenizer) + numbers[longest[found.lastindex - 1]]
        place = found.end()
    return read + _plain(prompt[place:], tokenizer)


def _framed(tokens: Sequence[int], tokenizer: Any) -> list[int]:
    framed = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    return framed + [tokenizer.pad_token_id] * (_TOKENS - len(framed))


def _pooled(encoder: Any, read: Any, tokens: Tensor) -> Tensor:
    """What the encoder makes of the whole prompt: its last state at the mark of the end.

    That mark is the last token of its own vocabulary. transformers looks for the highest number there is in models as old as
    SDXL's, which a word learned besides would have.
    """
    size = encoder.config.vocab_size
    ends = tokens.where(tokens < size, 0).argmax(dim=-1).to(read.last_hidden_state.device)
    pooled: Tensor = encoder.text_projection(read.last_hidden_state[range(len(ends)), ends])
    return pooled


def _in_full_precision(vae: Any) -> Any:
    """SDXL's autoencoder in fp32, for it overflows in fp16."""
    import torch

    return vae if vae.dtype == torch.float32 else vae.to(torch.float32)


@contextlib.contextmanager
def _tiled(vae: Any, tile: int | None) -> Iterator[None]:
    """The autoencoder decoding in tiles for the length of the block, if there is an edge for them."""
    if tile is None:
        yield
        return
    before = vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = True, tile, tile // _FACTOR
    try:
        yield
    finally:
        vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = before


FAMILY = SDXL()
