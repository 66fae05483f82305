"""What transformers have in common whose one text encoder is a language model, which reads prompts inside a template."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zthumb.families.base import NO_TOKENS
from zthumb.families.shared.chat_prompts import cut
from zthumb.families.shared.flow_matching import FlowMatchingFamily

if TYPE_CHECKING:
    from pathlib import Path

    from zthumb.diffusion.conditioning import Conditioning

PROMPT_EMBEDS = "prompt_embeds"


class LanguageModelFamily(FlowMatchingFamily, ABC):
    """A family whose conditioning is the states of a language model; nothing but its transformer is adapted."""

    adapted_components = ("transformer",)
    text_components = ("tokenizer", "text_encoder")
    prompt_tokens: int
    """The most tokens of a prompt in its template."""
    no_prompt: str = ""
    """The text that guidance leads away from where none is given."""

    @abstractmethod
    def in_template(self, tokenizer: Any, prompt: str) -> str:
        """Return ``prompt`` as the language model reads it."""

    def cleaned(self, prompt: str) -> str:
        """Return ``prompt`` without what the pipeline removes from it."""
        return prompt

    def length(self, tokenizer: Any) -> int:
        """Return the most tokens of a prompt in its template that the base of ``tokenizer`` reads."""
        return min(self.prompt_tokens, int(tokenizer.model_max_length))

    def unconditional(self, pipeline: Any, like: Conditioning) -> Conditioning:
        return self.encode_prompts(pipeline, [self.no_prompt]).to(dtype=like.tensors[PROMPT_EMBEDS][0].dtype)

    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        return [self._cut(tokenizer, prompt) for prompt in prompts]

    def truncated_prompt(self, pipeline: Any, prompt: str, learned_tokens: Mapping[str, int] = NO_TOKENS) -> str:  # noqa: ARG002
        return self._cut(pipeline.tokenizer, prompt)

    def _cut(self, tokenizer: Any, prompt: str) -> str:
        return cut(tokenizer, self.in_template(tokenizer, prompt), self.cleaned(prompt), self.length(tokenizer))
