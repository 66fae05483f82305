"""FLUX.2 dev (https://bfl.ai/blog/flux-2): Mistral Small as text encoder, flow matching.

It was distilled to follow a guidance scale that it is told (arXiv 2210.03142).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.families.base import BASES, NO_OPTIONS, Limits, LoraMetadata, Precisions
from zthumb.families.shared.embedded_guidance import EmbeddedGuidanceFamily
from zthumb.families.shared.flow_matching import DENOISER_PREFIX
from zthumb.families.shared.flux2_transformer import Flux2Family

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_IMAGE_MARK = "[IMG]"
"""What stands for an image in a message; the pipeline removes it from prompts."""


class Flux2Dev(EmbeddedGuidanceFamily, Flux2Family):
    """FLUX.2 dev and everything of its shape."""

    name = "flux2_dev"
    pipeline_class = "Flux2Pipeline"
    # Its processor is for images too, whose library is not needed here: ``load`` reads the tokenizer alone.
    pipeline_options = MappingProxyType({"tokenizer": None})
    references = (BASES / "FLUX.2-dev",)
    limits = Limits(steps=(1, 150), default_steps=50, guidance_scale=(0.0, 30.0), default_guidance_scale=4.0)
    few_step_limits = Limits(steps=(1, 16), default_steps=8, guidance_scale=(0.0, 30.0), default_guidance_scale=4.0)
    unread_tensors = ("vision_tower.", "multi_modal_projector.", "language_model.lm_head.")
    single_file = MappingProxyType(
        {"transformer": DENOISER_PREFIX, "text_encoder": "text_encoders.mistral3_24b.transformer.", "vae": "vae."}
    )

    def load(self, folder: Path, dtype: Precisions, device: torch.device, replaced: Mapping[str, Any] = NO_OPTIONS) -> Any:
        from transformers import AutoTokenizer

        pipeline = super().load(folder, dtype, device, replaced)
        pipeline.register_modules(tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True))
        return pipeline

    def build_text_encoder(self, configuration: Mapping[str, Any]) -> Any:
        from transformers import Mistral3Config, Mistral3ForConditionalGeneration

        return Mistral3ForConditionalGeneration(Mistral3Config(**configuration))

    # Prompts and conditioning

    def cleaned(self, prompt: str) -> str:
        return prompt.replace(_IMAGE_MARK, "")

    def in_template(self, tokenizer: Any, prompt: str) -> str:
        text: str = tokenizer.apply_chat_template(self._messages(prompt), tokenize=False)
        return text

    def tokenize(self, tokenizer: Any, prompts: Sequence[str]) -> Any:
        return tokenizer.apply_chat_template(
            [self._messages(prompt) for prompt in prompts],
            return_dict=True,
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=self.length(tokenizer),
        )

    def _messages(self, prompt: str) -> list[dict[str, Any]]:
        from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

        texts = {"system": SYSTEM_MESSAGE, "user": self.cleaned(prompt)}
        return [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts.items()]

    # Adapters

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        return LoraMetadata("flux_2_dev", False, "Flux.2-dev/lora", "flux2")

    def file_path(self, component: str, module: str) -> str:
        if component != "text_encoder":
            return module
        # As in files from before the language model and the image tower had a level in common.
        if module.startswith("lm_head."):
            return f"language_model.{module}"
        if not module.startswith("model."):
            return module
        return module.removeprefix("model.").replace("language_model.", "language_model.model.", 1)


FAMILY = Flux2Dev()
