"""What FLUX.2 klein and dev have in common: the transformer, the autoencoder, the schedule and the names in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.checkpoints import flux2_keys, vae_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.diffusion import schedulers
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.flow_match import FlowMatch
from zthumb.families.base import NO_TOKENS
from zthumb.families.shared.embedded_guidance import GUIDANCE
from zthumb.families.shared.flow_matching import without_prefix
from zthumb.families.shared.language_model import PROMPT_EMBEDS, LanguageModelFamily

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 512
"""Tokens that prompts are padded to; all of them are attended to."""
_FACTOR, _PATCH = 8, 2
_TOKEN = _FACTOR * _PATCH
"""Pixels of an image's edge for one latent: a square of 2 × 2 of the autoencoder's, normalized."""
_USUAL_STEPS = 50

_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.to_qkv_mlp_proj", "attn.to_out")
_CONTEXT_ATTENTION = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")
_FEED_FORWARD = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")


@dataclass(frozen=True)
class _EmpiricalShift:
    """The shift of FLUX.2's schedule: its logarithm is a function of tokens and steps, measured by its authors."""

    steps: int = _USUAL_STEPS

    def log_shift(self, height: int, width: int) -> float:
        """Return the logarithm of the shift for latents of that size."""
        tokens = height * width
        many = 0.00016927 * tokens + 0.45666666
        if tokens > 4300:
            return many
        few = 8.73809524e-05 * tokens + 1.89833333
        # In this order, so that the last bit is that of diffusers' pipelines: a line from 10 steps to 200.
        slope = (many - few) / 190.0
        return slope * self.steps + (many - 200.0 * slope)


class Flux2Family(LanguageModelFamily, ABC):
    """A family with FLUX.2's transformer, beside whose tokens are the states of three layers of a language model.

    Its conditioning holds ``prompt_embeds`` (B, tokens, width) and, where the transformer is told it, ``guidance`` (B,).
    """

    prompt_tokens = LENGTH
    image_components = ("vae",)
    size_multiple = _TOKEN

    @abstractmethod
    def tokenize(self, tokenizer: Any, prompts: Sequence[str]) -> Any:
        """Return ``input_ids`` and ``attention_mask`` (B, tokens) of ``prompts`` in their template."""

    @abstractmethod
    def build_text_encoder(self, configuration: Mapping[str, Any]) -> Any:
        """Return an untrained text encoder of that configuration."""

    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

        if component == self.denoiser_component:
            return Flux2Transformer2DModel.from_config(dict(configuration))
        if component == "vae":
            return AutoencoderKLFlux2.from_config(dict(configuration))
        return self.build_text_encoder(configuration)

    # Images and latents

    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        import torch

        vae = pipeline.vae
        with torch.no_grad():
            latents = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mode()
        mean, deviation = _statistics(vae, latents)
        scaled: Tensor = ((_squares(latents) - mean) / deviation).float()
        return scaled

    def decode_latents(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        import torch

        vae = pipeline.vae
        vae.use_tiling = tile is not None
        if tile is not None:
            vae.tile_sample_min_size, vae.tile_latent_min_size = tile, tile // _FACTOR
        with torch.no_grad():
            images: Tensor = vae.decode(unnormalized(vae, latents.to(vae.dtype))).sample.float()
        vae.use_tiling = False
        return images.clamp(-1, 1)

    def decode_dummy(self, autoencoder: Any, count: int, height: int, width: int) -> None:
        import torch

        shape = (autoencoder.config.latent_channels, height // _FACTOR, width // _FACTOR)
        autoencoder.decode(torch.zeros(count, *shape, dtype=autoencoder.dtype))

    def latent_shape(self, pipeline: Any, height: int, width: int) -> tuple[int, int, int]:
        return int(self.denoiser(pipeline).config.in_channels), height // _TOKEN, width // _TOKEN

    # Prompts and conditioning

    def encode_prompts(
        self,
        pipeline: Any,
        prompts: Sequence[str],
        learned_tokens: Mapping[str, int] = NO_TOKENS,  # noqa: ARG002
    ) -> Conditioning:
        import torch

        encoder = pipeline.text_encoder
        tokens = self.tokenize(pipeline.tokenizer, prompts).to(encoder.device)
        options = {"attention_mask": tokens.attention_mask, "output_hidden_states": True, "use_cache": False}
        with torch.no_grad():
            states = encoder(input_ids=tokens.input_ids, **options).hidden_states
        layers = encoder.config.get_text_config().num_hidden_layers
        embeds = torch.cat([states[layer] for layer in layers_read(layers)], dim=-1)
        return Conditioning.stacked(prompt_embeds=embeds.float())

    # Denoising

    def process(self, pipeline: Any) -> FlowMatch:  # noqa: ARG002
        return FlowMatch(_EmpiricalShift())

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, latents: Tensor) -> None:  # noqa: ARG002
        schedulers.set_flow_timesteps(scheduler, steps, latents, _EmpiricalShift(steps))

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[-2:]
        embeds = conditioning.stack(PROMPT_EMBEDS)
        predicted: Tensor = denoiser(
            hidden_states=noisy.flatten(2).transpose(1, 2),
            timestep=times.to(noisy.dtype) / 1000,
            guidance=conditioning.stack(GUIDANCE) if GUIDANCE in conditioning else None,
            encoder_hidden_states=embeds,
            txt_ids=_positions(noisy, tokens=embeds.shape[1]),
            img_ids=_positions(noisy, height, width),
            return_dict=False,
        )[0]
        return predicted.transpose(1, 2).reshape(noisy.shape)

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        embeds = torch.zeros(count, tokens or LENGTH, configuration["joint_attention_dim"])
        conditioning = Conditioning.stacked(prompt_embeds=embeds)
        if configuration["guidance_embeds"]:
            conditioning = conditioning.merge(guidance=torch.ones(count))
        return torch.zeros(count, configuration["in_channels"], height // _TOKEN, width // _TOKEN), conditioning

    # Adapters

    transformer_targets = MappingProxyType(
        {
            "attention": _ATTENTION + _CONTEXT_ATTENTION,
            "attention+feed-forward": _ATTENTION + _CONTEXT_ATTENTION + _FEED_FORWARD,
        }
    )

    # Checkpoint files

    gguf_architecture = "flux"
    denoiser_mark = "double_stream_modulation_img.lin.weight"
    # Most files are the transformer alone, under its published names.
    single_file_aliases = without_prefix(
        *("double_blocks.", "single_blocks.", "final_layer.", "img_in.", "txt_in.", "time_in.", "guidance_in."),
        *("double_stream_modulation_img.", "double_stream_modulation_txt.", "single_stream_modulation."),
    )

    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:  # noqa: ARG002
        return flux2_keys.of_module(module)

    def checkpoint_key(self, component: str, name: str, configuration: Any) -> CheckpointKey:
        if component == self.denoiser_component:
            return flux2_keys.of_tensor(name)
        if component == "vae":
            return _autoencoder_key(name, len(configuration.block_out_channels))
        return CheckpointKey(name)


def layers_read(layers: int) -> tuple[int, int, int]:
    """Return the layers of a text encoder of that many ``layers`` whose states are read: a quarter, a half and three quarters."""
    return layers // 4, layers // 2, layers * 3 // 4


def _autoencoder_key(name: str, blocks: int) -> CheckpointKey:
    # Its published encoder and decoder contain the convolutions that diffusers has outside of them.
    inside = {"quant_conv": "encoder.quant_conv", "post_quant_conv": "decoder.post_quant_conv"}
    module, _, last = name.rpartition(".")
    return CheckpointKey(f"{inside[module]}.{last}") if module in inside else vae_keys.of_autoencoder(name, blocks)


def _squares(latents: Tensor) -> Tensor:
    """Latents (B, channels, h, w) as squares of 2 × 2, (B, channels · 4, h/2, w/2)."""
    from torch.nn.functional import pixel_unshuffle

    squares: Tensor = pixel_unshuffle(latents, _PATCH)
    return squares


def unnormalized(vae: Any, latents: Tensor) -> Tensor:
    """Return normalized squares of 2 × 2 latents, (B, channels · 4, h/2, w/2), as ``vae`` decodes them: (B, channels, h, w)."""
    from torch.nn.functional import pixel_shuffle

    mean, deviation = _statistics(vae, latents)
    unscaled: Tensor = pixel_shuffle(latents * deviation + mean, _PATCH)
    return unscaled


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the deviation of each channel of squares, both (channels · 4, 1, 1)."""
    import torch

    deviation = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
    return vae.bn.running_mean.to(like)[:, None, None], deviation.to(like)[:, None, None]


def _positions(like: Tensor, height: int = 1, width: int = 1, tokens: int = 1) -> Tensor:
    """The place (frame, row, column, token) of each token, for each image of ``like``: (B, height · width · tokens, 4)."""
    import torch

    axes = (torch.arange(size, device=like.device) for size in (1, height, width, tokens))
    return torch.cartesian_prod(*axes).expand(len(like), -1, -1)
