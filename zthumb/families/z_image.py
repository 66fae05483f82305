"""Z-Image (arXiv 2511.22699): a Qwen3 text encoder, one stream of image and text tokens, flow matching.

Z-Image-Turbo was distilled to eight steps without guidance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.files import read_json
from zthumb.checkpoints import vae_keys, z_image_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.guidance import GuidanceBeyondPrompt
from zthumb.families.base import BASES, NO_TOKENS, Limits, LoraMetadata
from zthumb.families.shared.autoencoder_kl import FACTOR, AutoencoderKLFamily
from zthumb.families.shared.chat_prompts import ChatTemplate
from zthumb.families.shared.flow_matching import DENOISER_PREFIX, without_prefix
from zthumb.families.shared.language_model import PROMPT_EMBEDS, LanguageModelFamily

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

_LENGTH = 512
TEMPLATE = ChatTemplate(enable_thinking=True)
_PATCH = 2
_TURBO = re.compile(r"z[-_ ]?image[-_ ]?turbo", re.IGNORECASE)

_ATTENTION = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0")
_FEED_FORWARD = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")


class ZImage(LanguageModelFamily, AutoencoderKLFamily):
    """Z-Image and Z-Image-Turbo and everything of their shape, ``models/mini-z-image`` included.

    Its conditioning holds ``prompt_embeds`` (tokens, width), as many tokens as the image's prompt has.
    """

    name = "z_image"
    pipeline_class = "ZImagePipeline"
    prompt_tokens = _LENGTH
    references = (BASES / "Z-Image",)
    size_multiple = FACTOR * _PATCH
    limits = Limits(steps=(1, 150), default_steps=50, guidance_scale=(0.0, 30.0), default_guidance_scale=4.0)
    few_step_limits = Limits(steps=(1, 16), default_steps=8, guidance_scale=(0.0, 0.0), default_guidance_scale=0.0)

    def is_few_step(self, folder: Path) -> bool:
        # Both releases have the same configuration: nothing but a name tells them apart.
        source = str(read_json(folder / "model_index.json").get("_name_or_path", ""))
        return any(_TURBO.search(name) for name in (str(folder.resolve()), source))

    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKL, ZImageTransformer2DModel
        from transformers import Qwen3Config, Qwen3Model

        if component == self.denoiser_component:
            return ZImageTransformer2DModel.from_config(dict(configuration))
        if component == "vae":
            return AutoencoderKL.from_config(dict(configuration))
        return Qwen3Model(Qwen3Config(**configuration))

    def latent_shape(self, pipeline: Any, height: int, width: int) -> tuple[int, int, int]:
        return int(self.denoiser(pipeline).config.in_channels), height // FACTOR, width // FACTOR

    def latents_dtype(self, pipeline: Any) -> torch.dtype:  # noqa: ARG002
        import torch

        return torch.float32

    # Prompts and conditioning

    def encode_prompts(
        self,
        pipeline: Any,
        prompts: Sequence[str],
        learned_tokens: Mapping[str, int] = NO_TOKENS,  # noqa: ARG002
    ) -> Conditioning:
        import torch

        encoder = pipeline.text_encoder
        tokens = TEMPLATE.tokenize(pipeline.tokenizer, prompts, self.length(pipeline.tokenizer)).to(encoder.device)
        mask = tokens.attention_mask.bool()
        with torch.no_grad():
            states = encoder(input_ids=tokens.input_ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
        embeds = tuple(state[kept].float() for state, kept in zip(states, mask, strict=True))
        return Conditioning({PROMPT_EMBEDS: embeds})

    def in_template(self, tokenizer: Any, prompt: str) -> str:
        return TEMPLATE.apply(tokenizer, prompt)

    # Denoising

    def guidance(self, scale: float, true_cfg_scale: float = 1.0) -> GuidanceBeyondPrompt:  # noqa: ARG002
        return GuidanceBeyondPrompt(scale)

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        import torch

        embeds = list(conditioning.tensors[PROMPT_EMBEDS])
        # It takes one tensor for each image, with a dimension of frames.
        images = list(noisy.to(embeds[0].dtype).unsqueeze(2).unbind(0))
        # Its time is 1 without noise, and its prediction leads from noise to latents.
        predicted = denoiser(images, (1000 - times) / 1000, embeds, return_dict=False)[0]
        return -torch.stack([image.float() for image in predicted]).squeeze(2)

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        conditioning = Conditioning.stacked(prompt_embeds=torch.zeros(count, tokens or _LENGTH, configuration["cap_feat_dim"]))
        return torch.zeros(count, configuration["in_channels"], height // FACTOR, width // FACTOR), conditioning

    # Adapters

    # Forge reads nothing else.
    diffusers_prefixes = MappingProxyType({"transformer": "diffusion_model."})
    other_lora_prefixes = MappingProxyType({"lora_transformer_": "lora_unet_", "lora_unet__": "lora_unet_"})
    transformer_targets = MappingProxyType({"attention": _ATTENTION, "attention+feed-forward": _ATTENTION + _FEED_FORWARD})

    def unused_modules(self, component: str, model: Any) -> Sequence[str]:  # noqa: ARG002
        # No trainer adapts the blocks that image and text tokens pass through apart from each other.
        return ("noise_refiner.", "context_refiner.")

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        return LoraMetadata("z_image", False, "Z-Image/lora", "z-image")

    # Checkpoint files

    gguf_architecture = "lumina2"
    single_file = MappingProxyType(
        {"transformer": DENOISER_PREFIX, "text_encoder": "text_encoders.qwen3_4b.transformer.model.", "vae": "vae."}
    )
    denoiser_mark = "cap_embedder.1.weight"
    # Most files are the transformer alone, under its published names.
    single_file_aliases = without_prefix(
        *("layers.", "noise_refiner.", "context_refiner.", "cap_embedder.", "t_embedder.", "x_embedder."),
        *("final_layer.", "x_pad_token", "cap_pad_token"),
    )

    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:  # noqa: ARG002
        return z_image_keys.of_module(module)

    def checkpoint_key(self, component: str, name: str, configuration: Any) -> CheckpointKey:
        if component == self.denoiser_component:
            return z_image_keys.of_tensor(name)
        if component == "vae":
            return vae_keys.of_autoencoder(name, len(configuration.block_out_channels))
        return CheckpointKey(name)


FAMILY = ZImage()
