"""Stable Diffusion XL (arXiv 2307.01952): two text encoders, size and crop conditioning, an epsilon objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.checkpoints import clip_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import BASES, ImageSize, Limits, LoraMetadata
from zthumb.families.shared.autoencoder_kl import FACTOR
from zthumb.families.shared.clip_text import LENGTH, PROMPT_EMBEDS
from zthumb.families.shared.stable_diffusion import StableDiffusion

if TYPE_CHECKING:
    from torch import Tensor

_TIME_IDS = 6


class SDXL(StableDiffusion):
    """SDXL base 1.0 and everything of its shape, ``models/mini-sdxl`` included.

    Its conditioning adds ``pooled_prompt_embeds`` (B, width) and ``time_ids`` (B, 6): original size, crop and target size.
    """

    name = "sdxl"
    pipeline_class = "StableDiffusionXLPipeline"
    adapted_components = ("unet", "text_encoder", "text_encoder_2")
    references = (BASES / "stable-diffusion-xl-base-1.0",)
    text_components = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    reads_penultimate = True
    limits = Limits(steps=(1, 150), default_steps=25, guidance_scale=(0.0, 30.0), default_guidance_scale=5.0)
    gguf_architecture = "sdxl"
    pipeline_options = MappingProxyType({"add_watermarker": False})
    single_file = MappingProxyType(
        {
            "unet": "model.diffusion_model.",
            "text_encoder": "conditioner.embedders.0.transformer.",
            "text_encoder_2": "conditioner.embedders.1.model.",
            "vae": "first_stage_model.",
        }
    )

    lora_prefixes = MappingProxyType({"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"})
    other_lora_prefixes = MappingProxyType({"lora_te_": "lora_te1_"})
    module_prefixes = MappingProxyType(
        {
            "unet": ("model.diffusion_model.", "diffusion_model."),
            "text_encoder": (
                *("text_encoders.clip_l.transformer.", "clip_l.transformer.", "text_encoders.clip_l.", "clip_l."),
                *("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "te1.", "text_encoder_1."),
            ),
            "text_encoder_2": (
                *("text_encoders.clip_g.transformer.", "clip_g.transformer.", "text_encoders.clip_g.", "clip_g.", "te2."),
            ),
        }
    )
    embedding_keys = MappingProxyType({"clip_l": "text_encoder", "clip_g": "text_encoder_2"})

    def build_text_encoder(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        kind = CLIPTextModel if component == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig(**configuration))

    def text_checkpoint_key(self, component: str, name: str, model: Any) -> CheckpointKey:  # noqa: ARG002
        return clip_keys.of_transformers(name) if component == "text_encoder" else clip_keys.of_open_clip(name)

    def text_encoders(self, pipeline: Any) -> Mapping[str, tuple[Any, Any]]:
        return {
            "text_encoder": (pipeline.tokenizer, pipeline.text_encoder),
            "text_encoder_2": (pipeline.tokenizer_2, pipeline.text_encoder_2),
        }

    def encode_tokens(self, components: Mapping[str, Any], token_ids: Tensor) -> Conditioning:
        import torch

        encoders = (components["text_encoder"], components["text_encoder_2"])
        pairs = zip(encoders, token_ids.unbind(1), strict=True)
        first, second = (encoder(ids.to(encoder.device), output_hidden_states=True) for encoder, ids in pairs)
        embeds = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return Conditioning.stacked(prompt_embeds=embeds, pooled_prompt_embeds=_pooled(encoders[1], second, token_ids[:, 1]))

    def with_prompt_embeds(self, prompt_embeds: Sequence[Tensor], like: Conditioning) -> Conditioning:
        import torch

        return like.merge(prompt_embeds=torch.cat(list(prompt_embeds), dim=-1))

    def with_sizes(self, conditioning: Conditioning, sizes: Sequence[ImageSize]) -> Conditioning:
        import torch

        device = conditioning.tensors[PROMPT_EMBEDS][0].device
        values = [[*size.original, *size.crop, *size.target] for size in sizes]
        return conditioning.merge(time_ids=torch.tensor(values, device=device))

    def unconditional(self, pipeline: Any, like: Conditioning) -> Conditioning:  # noqa: ARG002
        import torch

        # SDXL was trained on zeros where a caption was left out, which is not the same as an empty prompt.
        names = (PROMPT_EMBEDS, "pooled_prompt_embeds")
        return Conditioning({name: (torch.zeros_like(like.tensors[name][0]),) for name in names})

    def unconditional_token_ids(self, pipeline: Any) -> Tensor:
        import torch

        return torch.full_like(self.token_ids(pipeline, [""]), -1)

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        added = {"text_embeds": conditioning.stack("pooled_prompt_embeds"), "time_ids": conditioning.stack("time_ids")}
        predicted: Tensor = denoiser(noisy, times, conditioning.stack(PROMPT_EMBEDS), added_cond_kwargs=added, return_dict=False)[
            0
        ]
        return predicted

    def unused_modules(self, component: str, model: Any) -> Sequence[str]:
        # Of the first text encoder the last layer but one is read, and nothing after it.
        if component != "text_encoder":
            return ()
        last = f"encoder.layers.{model.config.num_hidden_layers - 1}."
        return (last, f"text_model.{last}")

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        return LoraMetadata("sdxl_base_v1-0", False, "stable-diffusion-xl-v1-base/lora", "stable-diffusion-xl")

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        embedding = configuration["cross_attention_dim"]
        pooled = configuration["projection_class_embeddings_input_dim"] - _TIME_IDS * configuration["addition_time_embed_dim"]
        conditioning = Conditioning.stacked(
            prompt_embeds=torch.zeros(count, tokens or LENGTH, embedding),
            pooled_prompt_embeds=torch.zeros(count, pooled),
            time_ids=torch.zeros(count, _TIME_IDS),
            token_ids=torch.zeros(count, 2, tokens or LENGTH, dtype=torch.int64),
        )
        return torch.zeros(count, configuration["in_channels"], height // FACTOR, width // FACTOR), conditioning


def _pooled(encoder: Any, output: Any, token_ids: Tensor) -> Tensor:
    """The embedding of the whole prompt: the projection of the last state at the end mark.

    That mark is the last token of the encoder's own vocabulary. transformers looks for the highest id in models as old as SDXL's,
    which a learned token would have.
    """
    size = encoder.config.vocab_size
    ends = token_ids.where(token_ids < size, 0).argmax(dim=-1).to(output.last_hidden_state.device)
    pooled: Tensor = encoder.text_projection(output.last_hidden_state[range(len(ends)), ends])
    return pooled


FAMILY = SDXL()
