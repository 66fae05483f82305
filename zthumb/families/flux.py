"""FLUX.1 (https://bfl.ai/blog/24-08-01-bfl): T5 and CLIP text encoders, a transformer over packed latents, flow matching.

dev was distilled to follow a guidance scale that it is told (arXiv 2210.03142), schnell to need four steps and no guidance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.checkpoints import clip_keys, flux_keys, vae_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.checkpoints.clip_keys import inside_text_model
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import BASES, NO_OPTIONS, NO_TOKENS, PROJECTED_WIDTH, Limits, LoraMetadata, Precisions
from zthumb.families.shared.autoencoder_kl import FACTOR, AutoencoderKLFamily
from zthumb.families.shared.embedded_guidance import GUIDANCE, EmbeddedGuidanceFamily
from zthumb.families.shared.flow_matching import DENOISER_PREFIX, FlowMatchingFamily, cut_by, without_prefix
from zthumb.families.shared.packed_latents import PATCH, pack, positions, unpack

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

_PROMPT_EMBEDS, _POOLED = "prompt_embeds", "pooled_prompt_embeds"
_PADDED: Mapping[str, Any] = MappingProxyType(
    {"padding": "max_length", "truncation": True, "return_tensors": "pt", "verbose": False}
)
_LENGTH, _LENGTH_OF_SCHNELL = 512, 256
"""Tokens that T5's prompts are padded to; all of them are attended to, so that another number changes images."""

_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
_CONTEXT_ATTENTION = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out")
# XLabs' adapters are attention processors: of the image's stream 1 and of the text's stream 2, and of both in one.
_XLABS = re.compile(r"(double|single)_blocks\.(\d+)\.processor\.(qkv|proj)(?:_lora([12]))?")
_XLABS_MODULES: Mapping[tuple[str, str, str | None], Sequence[str]] = MappingProxyType(
    {
        ("double", "qkv", "1"): ("attn.to_q", "attn.to_k", "attn.to_v"),
        ("double", "proj", "1"): ("attn.to_out.0",),
        ("double", "qkv", "2"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        ("double", "proj", "2"): ("attn.to_add_out",),
        ("single", "qkv", None): ("attn.to_q", "attn.to_k", "attn.to_v"),
        ("single", "proj", None): ("proj_out",),
    }
)


class Flux(EmbeddedGuidanceFamily, FlowMatchingFamily, AutoencoderKLFamily):
    """FLUX.1 dev and schnell and everything of their shape, ``models/mini-flux`` included.

    Its conditioning holds ``prompt_embeds`` (B, tokens, width) of T5, ``pooled_prompt_embeds`` (B, width) of CLIP, and, where the
    transformer is told it, ``guidance`` (B,).
    """

    name = "flux"
    pipeline_class = "FluxPipeline"
    adapted_components = ("transformer", "text_encoder", "text_encoder_2")
    text_components = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    distillable_component = "text_encoder_2"
    references = tuple(BASES / name for name in ("FLUX.1-dev", "FLUX.1-schnell"))
    pipeline_options = MappingProxyType({"image_encoder": None, "feature_extractor": None})
    size_multiple = FACTOR * PATCH
    limits = Limits(steps=(1, 150), default_steps=28, guidance_scale=(0.0, 30.0), default_guidance_scale=3.5)
    few_step_limits = Limits(steps=(1, 8), default_steps=4, guidance_scale=(0.0, 0.0), default_guidance_scale=0.0)
    # With such an adapter dev is still told a guidance scale.
    few_step_adapter_limits = Limits(steps=(1, 16), default_steps=8, guidance_scale=(0.0, 30.0), default_guidance_scale=3.5)

    def is_few_step(self, folder: Path) -> bool:
        # dev is told a guidance scale, and schnell is not.
        return not self.configuration(folder, self.denoiser_component)["guidance_embeds"]

    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKL, FluxTransformer2DModel
        from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

        if component == self.denoiser_component:
            return FluxTransformer2DModel.from_config(dict(configuration))
        if component == "vae":
            return AutoencoderKL.from_config(dict(configuration))
        if component == "text_encoder":
            return CLIPTextModel(CLIPTextConfig(**configuration))
        if PROJECTED_WIDTH in configuration:
            from zthumb.families.shared.t5_with_projection import T5EncoderWithProjection

            return T5EncoderWithProjection(T5Config(**configuration))
        return T5EncoderModel(T5Config(**configuration))

    def load(self, folder: Path, dtype: Precisions, device: torch.device, replaced: Mapping[str, Any] = NO_OPTIONS) -> Any:
        name = self.distillable_component
        if name in replaced or PROJECTED_WIDTH not in self.configuration(folder, name):
            return super().load(folder, dtype, device, replaced)
        from zthumb.families.shared.t5_with_projection import T5EncoderWithProjection

        own = dtype[name] if isinstance(dtype, Mapping) else dtype
        small = T5EncoderWithProjection.from_pretrained(folder / name, dtype=own, local_files_only=True)
        return super().load(folder, dtype, device, {**replaced, name: small.eval().to(device)})

    def latent_shape(self, pipeline: Any, height: int, width: int) -> tuple[int, int, int]:
        channels = int(self.denoiser(pipeline).config.in_channels) // PATCH**2
        return channels, height // FACTOR, width // FACTOR

    # Prompts and conditioning

    def encode_prompts(
        self,
        pipeline: Any,
        prompts: Sequence[str],
        learned_tokens: Mapping[str, int] = NO_TOKENS,  # noqa: ARG002
    ) -> Conditioning:
        import torch

        clip_ids = pipeline.tokenizer(list(prompts), **_PADDED).input_ids
        t5_ids = self.distillable_tokens(pipeline, prompts)
        with torch.no_grad():
            pooled = pipeline.text_encoder(clip_ids.to(pipeline.text_encoder.device)).pooler_output
            embeds = pipeline.text_encoder_2(t5_ids.to(pipeline.text_encoder_2.device))[0]
        return Conditioning.stacked(prompt_embeds=embeds.float(), pooled_prompt_embeds=pooled.float())

    def distillable_tokens(self, pipeline: Any, prompts: Sequence[str]) -> Tensor:
        length = _length(pipeline.tokenizer_2, self.denoiser(pipeline).config)
        tokens: Tensor = pipeline.tokenizer_2(list(prompts), max_length=length, **_PADDED).input_ids
        return tokens

    def unconditional(self, pipeline: Any, like: Conditioning) -> Conditioning:
        return self.encode_prompts(pipeline, [""]).to(dtype=like.tensors[_PROMPT_EMBEDS][0].dtype)

    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
        length = _length(tokenizer, self.configuration(folder, self.denoiser_component))
        return [cut_by(tokenizer, prompt, length) for prompt in prompts]

    def truncated_prompt(self, pipeline: Any, prompt: str, learned_tokens: Mapping[str, int] = NO_TOKENS) -> str:  # noqa: ARG002
        return cut_by(pipeline.tokenizer_2, prompt, _length(pipeline.tokenizer_2, self.denoiser(pipeline).config))

    # Denoising

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[-2:]
        embeds = conditioning.stack(_PROMPT_EMBEDS)
        predicted: Tensor = denoiser(
            hidden_states=pack(noisy),
            # The transformer multiplies by 1000 again.
            timestep=times / 1000,
            guidance=conditioning.stack(GUIDANCE) if GUIDANCE in conditioning else None,
            pooled_projections=conditioning.stack(_POOLED),
            encoder_hidden_states=embeds,
            txt_ids=embeds.new_zeros(embeds.shape[1], 3),
            img_ids=positions(height, width).to(noisy),
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        conditioning = Conditioning.stacked(
            prompt_embeds=torch.zeros(count, tokens or _longest(configuration), configuration["joint_attention_dim"]),
            pooled_prompt_embeds=torch.zeros(count, configuration["pooled_projection_dim"]),
            **({"guidance": torch.ones(count)} if configuration["guidance_embeds"] else {}),
        )
        channels = configuration["in_channels"] // PATCH**2
        return torch.zeros(count, channels, height // FACTOR, width // FACTOR), conditioning

    # Adapters

    lora_prefixes = MappingProxyType({"transformer": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te3_"})
    other_lora_prefixes = MappingProxyType({"lora_te_": "lora_te1_", "lora_te2_": "lora_te3_", "lora_transformer_": "lora_unet_"})
    module_prefixes = MappingProxyType(
        {
            "transformer": (DENOISER_PREFIX, "diffusion_model."),
            "text_encoder": ("text_encoders.clip_l.transformer.", "clip_l.transformer.", "text_encoders.clip_l.", "clip_l."),
            "text_encoder_2": ("text_encoders.t5xxl.transformer.", "t5xxl.transformer.", "text_encoders.t5xxl.", "t5xxl."),
        }
    )

    def other_modules(self, name: str) -> Sequence[str]:
        match = _XLABS.fullmatch(name)
        if match is None:
            return ()
        blocks, number, projection, stream = match.groups()
        block = f"transformer_blocks.{number}" if blocks == "double" else f"single_transformer_blocks.{number}"
        return [f"{block}.{module}" for module in _XLABS_MODULES.get((blocks, projection, stream), ())]

    transformer_targets = MappingProxyType(
        {
            "attention": _ATTENTION + _CONTEXT_ATTENTION,
            "attention+feed-forward": _ATTENTION + _CONTEXT_ATTENTION + _FEED_FORWARD,
        }
    )

    def unused_modules(self, component: str, model: Any) -> Sequence[str]:  # noqa: ARG002
        # The output layer has the name of a layer inside the blocks.
        return ("proj_out",) if component == self.denoiser_component else ()

    def file_path(self, component: str, module: str) -> str:
        return inside_text_model(module) if component == "text_encoder" else module

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        variant = "dev" if configuration["guidance_embeds"] else "schnell"
        return LoraMetadata("flux1", False, f"flux-1-{variant}/lora", "flux")

    # Checkpoint files

    gguf_architecture = "flux"
    single_file = MappingProxyType(
        {
            "transformer": DENOISER_PREFIX,
            "text_encoder": "text_encoders.clip_l.transformer.",
            "text_encoder_2": "text_encoders.t5xxl.transformer.",
            "vae": "vae.",
        }
    )
    denoiser_mark = "double_blocks.0.img_attn.qkv.weight"
    # Most files are the transformer alone, under its published names.
    single_file_aliases = without_prefix(
        *("double_blocks.", "single_blocks.", "final_layer.", "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.")
    )

    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:  # noqa: ARG002
        return flux_keys.of_module(module)

    def checkpoint_key(self, component: str, name: str, configuration: Any) -> CheckpointKey:
        if component == self.denoiser_component:
            return flux_keys.of_tensor(name)
        if component == "vae":
            return vae_keys.of_autoencoder(name, len(configuration.block_out_channels))
        return clip_keys.of_transformers(name) if component == "text_encoder" else CheckpointKey(name)


def _longest(configuration: Mapping[str, Any]) -> int:
    return _LENGTH if configuration["guidance_embeds"] else _LENGTH_OF_SCHNELL


def _length(tokenizer: Any, configuration: Mapping[str, Any]) -> int:
    """The tokens that T5's prompts are padded to: those that the base was trained with."""
    return min(_longest(configuration), int(tokenizer.model_max_length))


FAMILY = Flux()
