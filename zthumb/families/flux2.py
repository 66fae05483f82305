"""FLUX.2 klein (https://bfl.ai/blog/flux2-klein-towards-interactive-visual-intelligence): Qwen3 as text encoder, flow matching.

Its bases take classifier-free guidance; what was distilled from them needs four steps and none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from foundation.files import read_json
from zthumb.diffusion.guidance import Guidance
from zthumb.families.base import BASES, Limits, LoraMetadata
from zthumb.families.shared.chat_prompts import ChatTemplate
from zthumb.families.shared.flow_matching import DENOISER_PREFIX
from zthumb.families.shared.flux2_transformer import Flux2Family

if TYPE_CHECKING:
    from pathlib import Path

_TEMPLATE = ChatTemplate(enable_thinking=False)


@dataclass(frozen=True)
class TwoPassGuidance(Guidance):
    """Classifier-free guidance by two predictions, one after the other."""

    in_one_pass: ClassVar[bool] = False


class Flux2(Flux2Family):
    """FLUX.2 klein and everything of its shape."""

    name = "flux2"
    pipeline_class = "Flux2KleinPipeline"
    references = tuple(BASES / f"FLUX.2-klein-{name}" for name in ("4B", "base-4B", "9B", "base-9B"))
    limits = Limits(steps=(1, 150), default_steps=50, guidance_scale=(1.0, 30.0), default_guidance_scale=4.0)
    few_step_limits = Limits(steps=(1, 8), default_steps=4, guidance_scale=(1.0, 1.0), default_guidance_scale=1.0)
    unread_tensors = ("lm_head.",)
    single_file = MappingProxyType(
        {"transformer": DENOISER_PREFIX, "text_encoder": "text_encoders.qwen3.transformer.", "vae": "vae."}
    )

    def is_few_step(self, folder: Path) -> bool:
        return bool(read_json(folder / "model_index.json").get("is_distilled", False))

    def build_text_encoder(self, configuration: Mapping[str, Any]) -> Any:
        from transformers import Qwen3Config, Qwen3ForCausalLM

        return Qwen3ForCausalLM(Qwen3Config(**configuration))

    def in_template(self, tokenizer: Any, prompt: str) -> str:
        return _TEMPLATE.apply(tokenizer, prompt)

    def tokenize(self, tokenizer: Any, prompts: Sequence[str]) -> Any:
        return _TEMPLATE.tokenize(tokenizer, prompts, self.length(tokenizer))

    def guidance(self, scale: float, true_cfg_scale: float = 1.0) -> TwoPassGuidance:  # noqa: ARG002
        return TwoPassGuidance(scale)

    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:  # noqa: ARG002
        size = "4b" if configuration["num_single_layers"] <= 20 else "9b"
        return LoraMetadata(f"flux_2_klein_{size}", False, f"Flux.2-klein-{size}/lora", "flux2")


FAMILY = Flux2()
