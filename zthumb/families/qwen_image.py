"""Qwen-Image (arXiv 2508.02324): Qwen2.5-VL as text encoder, two streams of tokens, flow matching, true guidance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from zthumb.checkpoints import wan_vae_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.guidance import Guidance
from zthumb.families.base import BASES, NO_TOKENS, Limits, LoraMetadata
from zthumb.families.shared.autoencoder_kl import FACTOR
from zthumb.families.shared.flow_matching import DENOISER_PREFIX, without_prefix
from zthumb.families.shared.language_model import PROMPT_EMBEDS, LanguageModelFamily
from zthumb.families.shared.packed_latents import PATCH, pack, unpack
from zthumb.families.shared.wan_autoencoder import WanAutoencoderFamily

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_LENGTH = 512
"""The most tokens of a prompt that are read, with those that end its message."""
_INSTRUCTION = "Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the "
_BEFORE = f"<|im_start|>system\n{_INSTRUCTION}objects and background:<|im_end|>\n<|im_start|>user\n"
_AFTER = "<|im_end|>\n<|im_start|>assistant\n"
DROPPED = 34
"""Tokens before the prompt, whose states are not read."""
_RESOLUTION, OWN_RESOLUTION = 1328, "_sample_size"
"""Pixels that Qwen-Image was trained at, and where another base's autoencoder says its own: in a name that diffusers skips."""

_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
_CONTEXT_ATTENTION = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")
_FEED_FORWARD = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")


@dataclass(frozen=True)
class RescaledGuidance(Guidance):
    """Classifier-free guidance after which each token's prediction is as large as that with the prompt alone."""

    in_one_pass: ClassVar[bool] = False

    def combine(self, without: Tensor, with_prompt: Tensor) -> Tensor:
        """See ``Guidance``."""
        import torch

        guided = pack(super().combine(without, with_prompt))
        sizes = torch.norm(pack(with_prompt), dim=-1, keepdim=True) / torch.norm(guided, dim=-1, keepdim=True)
        return unpack(guided * sizes, *with_prompt.shape[-2:])


class QwenImage(LanguageModelFamily, WanAutoencoderFamily):
    """Qwen-Image and everything of its shape, ``models/mini-qwen-image`` included.

    Its conditioning holds ``prompt_embeds`` (tokens, width), as many tokens as the image's prompt has.
    """

    name = "qwen_image"
    pipeline_class = "QwenImagePipeline"
    prompt_tokens = DROPPED + _LENGTH
    # It was not trained with an empty text.
    no_prompt = " "
    references = (BASES / "Qwen-Image",)
    size_multiple = FACTOR * PATCH
    limits = Limits(steps=(1, 150), default_steps=50, guidance_scale=(1.0, 30.0), default_guidance_scale=4.0)
    # As Lightning was distilled (https://github.com/ModelTC/Qwen-Image-Lightning): every size is shifted by three.
    few_step_schedule = MappingProxyType({"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None})
    few_step_limits = Limits(steps=(1, 16), default_steps=8, guidance_scale=(1.0, 1.0), default_guidance_scale=1.0)

    def resolution(self, folder: Path) -> int:
        return int(self.configuration(folder, "vae").get(OWN_RESOLUTION, _RESOLUTION))

    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKLQwenImage
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        if component == self.denoiser_component:
            return _build_transformer(configuration)
        if component == "vae":
            return AutoencoderKLQwenImage.from_config(dict(configuration))
        return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**configuration))

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

        encoder = pipeline.text_encoder
        tokens = tokenize(pipeline.tokenizer, prompts).to(encoder.device)
        with torch.no_grad():
            output = encoder(tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True)
        kept = zip(output.hidden_states[-1], tokens.attention_mask.bool(), strict=True)
        return Conditioning({PROMPT_EMBEDS: tuple(state[mask][DROPPED:].float() for state, mask in kept)})

    def in_template(self, tokenizer: Any, prompt: str) -> str:  # noqa: ARG002
        return f"{_BEFORE}{prompt}{_AFTER}"

    # Denoising

    def guidance(self, scale: float, true_cfg_scale: float = 1.0) -> RescaledGuidance:  # noqa: ARG002
        return RescaledGuidance(scale)

    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[-2:]
        embeds, mask = _padded(conditioning.tensors[PROMPT_EMBEDS])
        predicted: Tensor = denoiser(
            hidden_states=pack(noisy),
            timestep=times.to(noisy.dtype) / 1000,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=mask,
            img_shapes=[[(1, height // PATCH, width // PATCH)]] * len(noisy),
            return_dict=False,
        )[0]
        return unpack(predicted, height, width)

    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        import torch

        embeds = torch.zeros(count, tokens or _LENGTH, configuration["joint_attention_dim"])
        conditioning = Conditioning.stacked(prompt_embeds=embeds)
        channels = configuration["in_channels"] // PATCH**2
        return torch.zeros(count, channels, height // FACTOR, width // FACTOR), conditioning

    # Adapters

    transformer_targets = MappingProxyType(
        {
            "attention": _ATTENTION + _CONTEXT_ATTENTION,
            "attention+feed-forward": _ATTENTION + _CONTEXT_ATTENTION + _FEED_FORWARD,
        }
    )

    def file_path(self, component: str, module: str) -> str:
        if component == self.denoiser_component:
            return module
        # As in files from before the language model and the image tower had a level in common.
        return module.replace("model.language_model.", "model.", 1).replace("model.visual.", "visual.", 1)

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        return LoraMetadata("qwen_image", False, "Qwen-Image/lora", "qwen-image")

    # Checkpoint files

    gguf_architecture = "qwen_image"
    unread_tensors = ("visual.", "lm_head.")
    single_file = MappingProxyType(
        {"transformer": DENOISER_PREFIX, "text_encoder": "text_encoders.qwen25_7b.transformer.", "vae": "vae."}
    )
    denoiser_mark = "transformer_blocks.0.img_mod.1.weight"
    # Most files are the transformer alone.
    single_file_aliases = without_prefix(
        "transformer_blocks.", "img_in.", "txt_in.", "txt_norm.", "time_text_embed.", "norm_out.", "proj_out."
    )

    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:  # noqa: ARG002
        return CheckpointKey(module)

    def checkpoint_key(self, component: str, name: str, configuration: Any) -> CheckpointKey:
        if component == "vae":
            return wan_vae_keys.of_autoencoder(name, configuration.num_res_blocks + 1)
        return CheckpointKey(self.file_path(component, name))


def _build_transformer(configuration: Mapping[str, Any]) -> Any:
    import torch
    from diffusers import QwenImageTransformer2DModel

    transformer = QwenImageTransformer2DModel.from_config(dict(configuration))
    # The angles of its positions are no weights: nothing fills them in on the meta device.
    positions = transformer.pos_embed
    with torch.device("cpu"):
        transformer.pos_embed = type(positions)(positions.theta, positions.axes_dim, positions.scale_rope)
    return transformer


def tokenize(tokenizer: Any, prompts: Sequence[str]) -> Any:
    """Return ``input_ids`` and ``attention_mask`` (B, tokens) of ``prompts`` in their template, padded to the longest."""
    texts = [FAMILY.in_template(tokenizer, prompt) for prompt in prompts]
    return tokenizer(
        texts, max_length=FAMILY.length(tokenizer), padding=True, truncation=True, return_tensors="pt", verbose=False
    )


def _padded(embeds: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return tensors (tokens, width) as one (B, longest, width), and which tokens are theirs (B, longest) if some are shorter."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    if len({len(embed) for embed in embeds}) == 1:
        return torch.stack(tuple(embeds)), None
    masks = [torch.ones(len(embed), dtype=torch.bool, device=embed.device) for embed in embeds]
    return pad_sequence(list(embeds), batch_first=True), pad_sequence(masks, batch_first=True)


FAMILY = QwenImage()
