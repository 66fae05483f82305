"""Stable Diffusion 1.x and 2.x (arXiv 2112.10752): one CLIP text encoder, no size conditioning, epsilon or velocity.

1.5, its smaller distillations, and 2.1 are one family: the same pipeline, which differs by configuration alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.checkpoints import clip_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import BASES, Limits, LoraMetadata
from zthumb.families.shared.autoencoder_kl import FACTOR
from zthumb.families.shared.clip_text import LENGTH, PROMPT_EMBEDS
from zthumb.families.shared.stable_diffusion import ZERO_SNR, StableDiffusion

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.checkpoints.single_file import SingleFile

_ZERO_SNR_SCHEDULER = MappingProxyType({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing", "clip_sample": False})
_WIDTH_OF_2 = 1024
"""The width of the prompt embeddings of Stable Diffusion 2.x; that of 1.x is 768."""
_CROSS_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_VELOCITY_BIAS = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_VELOCITY_DEVIATION = 0.09


class SD15(StableDiffusion):
    """Stable Diffusion 1.5, 2.1 and everything of their shape, ``models/mini-sd15`` included."""

    name = "sd15"
    pipeline_class = "StableDiffusionPipeline"
    adapted_components = ("unet", "text_encoder")
    references = tuple(
        BASES / name
        for name in ("stable-diffusion-v1-5", "small-sd", "bk-sdm-small", "stable-diffusion-2-1-base", "stable-diffusion-2-1")
    )
    text_components = ("tokenizer", "text_encoder")
    reads_penultimate = False
    limits = Limits(steps=(1, 150), default_steps=25, guidance_scale=(0.0, 30.0), default_guidance_scale=7.5)
    gguf_architecture = "sd1"
    pipeline_options = MappingProxyType(
        {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False}
    )
    single_file = MappingProxyType(
        {"unet": "model.diffusion_model.", "text_encoder": "cond_stage_model.", "vae": "first_stage_model."}
    )
    single_file_aliases = MappingProxyType(
        {
            # Converted back from diffusers by early tools, or saved by programs that write SDXL's prefixes.
            "cond_stage_model.transformer.embeddings.": "cond_stage_model.transformer.text_model.embeddings.",
            "cond_stage_model.transformer.encoder.": "cond_stage_model.transformer.text_model.encoder.",
            "cond_stage_model.transformer.final_layer_norm.": "cond_stage_model.transformer.text_model.final_layer_norm.",
            "conditioner.embedders.0.": "cond_stage_model.",
        }
    )

    lora_prefixes = MappingProxyType({"unet": "lora_unet_", "text_encoder": "lora_te_"})
    other_lora_prefixes = MappingProxyType({"lora_te1_": "lora_te_"})
    module_prefixes = MappingProxyType(
        {
            "unet": ("model.diffusion_model.", "diffusion_model."),
            "text_encoder": (
                *("text_encoders.clip_l.transformer.", "clip_l.transformer.", "text_encoders.clip_l.", "clip_l."),
                *("text_encoders.clip_h.transformer.", "clip_h.transformer.", "text_encoders.clip_h.", "clip_h."),
                *("cond_stage_model.transformer.", "te1.", "te.", "text_encoder_1."),
            ),
        }
    )
    embedding_keys = MappingProxyType({"emb_params": "text_encoder"})

    def build_text_encoder(self, component: str, configuration: Mapping[str, Any]) -> Any:  # noqa: ARG002
        from transformers import CLIPTextConfig, CLIPTextModel

        return CLIPTextModel(CLIPTextConfig(**configuration))

    def text_checkpoint_key(self, component: str, name: str, model: Any) -> CheckpointKey:  # noqa: ARG002
        # 1.x has OpenAI's CLIP, whose activation is quick_gelu, under transformers' names; 2.x has OpenCLIP's under its own.
        if model.config.hidden_act == "quick_gelu":
            return clip_keys.of_transformers(name).with_prefix("transformer.")
        return clip_keys.of_open_clip(name).with_prefix("model.")

    def stated_scheduler(self, file: SingleFile) -> Mapping[str, Any]:
        stated = super().stated_scheduler(file)
        # The schedulers that these bases were published with cannot begin at pure noise.
        return {**stated, **_ZERO_SNR_SCHEDULER} if stated[ZERO_SNR] else stated

    def predicts_velocity(self, file: SingleFile) -> bool:
        # Published 2.x files do not say what they predict. ComfyUI tells 2.1 from 2.1 base by the spread of this bias.
        if file.shapes.get(_CROSS_ATTENTION, ())[1:] != (_WIDTH_OF_2,) or _VELOCITY_BIAS not in file.shapes:
            return False
        return float(file.tensor(_VELOCITY_BIAS).float().std(unbiased=False)) > _VELOCITY_DEVIATION

    def text_encoders(self, pipeline: Any) -> Mapping[str, tuple[Any, Any]]:
        return {"text_encoder": (pipeline.tokenizer, pipeline.text_encoder)}

    def encode_tokens(self, components: Mapping[str, Any], token_ids: Tensor) -> Conditioning:
        encoder = components["text_encoder"]
        states = encoder(token_ids[:, 0].to(encoder.device)).last_hidden_state
        return Conditioning.stacked(prompt_embeds=states)

    def with_prompt_embeds(self, prompt_embeds: Sequence[Tensor], like: Conditioning) -> Conditioning:
        (embeds,) = prompt_embeds
        return like.merge(prompt_embeds=embeds)

    def unconditional(self, pipeline: Any, like: Conditioning) -> Conditioning:
        # Trained on the empty prompt where a caption was left out; a longer prompt is several of its length.
        expected = like.tensors[PROMPT_EMBEDS][0]
        empty = self.encode_prompts(pipeline, [""]).to(dtype=expected.dtype).stack(PROMPT_EMBEDS)
        return Conditioning.stacked(prompt_embeds=empty.repeat(1, expected.shape[0] // empty.shape[1], 1))

    def unconditional_token_ids(self, pipeline: Any) -> Tensor:
        return self.token_ids(pipeline, [""])

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        predicted: Tensor = denoiser(noisy, times, conditioning.stack(PROMPT_EMBEDS), return_dict=False)[0]
        return predicted

    def lora_module_key(self, component: str, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:  # noqa: ARG002
        # kohya's files of 1.x and 2.x have diffusers' names of the UNet's blocks, unlike those of SDXL.
        return CheckpointKey(module)

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:
        is_v2, is_velocity = configuration["cross_attention_dim"] == _WIDTH_OF_2, prediction == "v_prediction"
        version = ("sd_v2" if is_v2 else "sd_v1") + ("_v" if is_velocity else "")
        of_2 = "stable-diffusion-v2-768-v/lora" if is_velocity else "stable-diffusion-v2-512/lora"
        return LoraMetadata(version, is_v2, of_2 if is_v2 else "stable-diffusion-v1/lora", "stable-diffusion")

    def notes_on(self, header: Mapping[str, str]) -> Sequence[str]:
        skip = header.get("ss_clip_skip", "")
        if not skip.isdecimal() or int(skip) < 2:
            return ()
        return (f"it was trained with clip skip {skip}, which is not done here: images may differ",)

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        conditioning = Conditioning.stacked(
            prompt_embeds=torch.zeros(count, tokens or LENGTH, configuration["cross_attention_dim"]),
            token_ids=torch.zeros(count, 1, tokens or LENGTH, dtype=torch.int64),
        )
        return torch.zeros(count, configuration["in_channels"], height // FACTOR, width // FACTOR), conditioning


FAMILY = SD15()
