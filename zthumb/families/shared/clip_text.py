"""Prompts read by CLIP text encoders: a capability of Stable Diffusion 1.x, 2.x and SDXL.

Whoever weighs words or trains text encoders works on tokens, which other families do not expose.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from foundation.trigger import whole_word_pattern
from zthumb.checkpoints.clip_keys import inside_text_model
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import NO_TOKENS, ModelFamily

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

LENGTH = 77
"""Tokens that a CLIP text encoder reads at once, the marks of start and end among them."""

TOKEN_IDS, PROMPT_EMBEDS = "token_ids", "prompt_embeds"


class ClipTextFamily(ModelFamily):
    """A family whose prompts are read by CLIP text encoders alone.

    Its conditioning holds ``prompt_embeds`` (B, tokens, width). Where text encoders are trained it also holds ``token_ids``
    (B, encoders, 77) that the embeddings were made from, -1 throughout where there is no prompt at all.
    """

    max_prompt_tokens = LENGTH - 2
    reads_penultimate: bool
    """Whether the last hidden state but one of the text encoders is read, and not the last one after its norm."""

    @abstractmethod
    def text_encoders(self, pipeline: Any) -> Mapping[str, tuple[Any, Any]]:
        """Return by component of each text encoder its tokenizer and itself."""

    @abstractmethod
    def encode_tokens(self, components: Mapping[str, Any], token_ids: Tensor) -> Conditioning:
        """Return the conditioning that the text encoders among ``components`` make of ``token_ids`` (B, encoders, 77)."""

    @abstractmethod
    def with_prompt_embeds(self, prompt_embeds: Sequence[Tensor], like: Conditioning) -> Conditioning:
        """Return ``like`` with other prompt embeddings: of each text encoder (B, tokens, width)."""

    @abstractmethod
    def unconditional_token_ids(self, pipeline: Any) -> Tensor:
        """Return the token ids (1, encoders, 77) of ``unconditional``."""

    def tokenize(self, pipeline: Any, text: str, learned_tokens: Mapping[str, int] = NO_TOKENS) -> list[list[int]]:
        """Return the tokens of ``text`` for each text encoder, any number, without marks.

        ``learned_tokens`` are words that the encoders know besides their own, with the number of tokens of each. Their ids follow
        those of the encoder's own vocabulary.
        """
        encoders = self.text_encoders(pipeline).values()
        return [_tokenize(text, tokenizer, encoder.config.vocab_size, learned_tokens) for tokenizer, encoder in encoders]

    def pad_tokens(self, pipeline: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Return the tokens of each encoder, at most ``max_prompt_tokens``, between their marks and padded (encoders, 77)."""
        import torch

        pairs = zip(tokens, self.text_encoders(pipeline).values(), strict=True)
        return torch.tensor([_padded(ids, tokenizer) for ids, (tokenizer, _) in pairs])

    def token_ids(self, pipeline: Any, prompts: Sequence[str], learned_tokens: Mapping[str, int] = NO_TOKENS) -> Tensor:
        """Return the token ids (B, encoders, 77) of ``prompts``, each cut to ``max_prompt_tokens``."""
        import torch

        cut = [[ids[: self.max_prompt_tokens] for ids in self.tokenize(pipeline, prompt, learned_tokens)] for prompt in prompts]
        return torch.stack([self.pad_tokens(pipeline, tokens) for tokens in cut])

    def token_embeddings(self, pipeline: Any, text: str) -> dict[str, Tensor]:
        """Return by text encoder the input embeddings (tokens, width), float32, of the tokens of ``text``."""
        import torch

        embeddings = {}
        for component, (tokenizer, encoder) in self.text_encoders(pipeline).items():
            weight = encoder.get_input_embeddings().weight
            embeddings[component] = weight[torch.tensor(_plain(text, tokenizer), device=weight.device)].detach().float()
        return embeddings

    def file_path(self, component: str, module: str) -> str:
        # Whether a text encoder has a text_model level depends on the version of transformers; files have it.
        return inside_text_model(module) if component in self.text_components else module

    def encode_prompts(
        self, pipeline: Any, prompts: Sequence[str], learned_tokens: Mapping[str, int] = NO_TOKENS
    ) -> Conditioning:
        import torch

        components = {component: getattr(pipeline, component) for component in self.text_components}
        with torch.no_grad():
            return self.encode_tokens(components, self.token_ids(pipeline, prompts, learned_tokens)).to(dtype=torch.float32)

    def encode_weighted(self, pipeline: Any, token_ids: Tensor, weights: Tensor) -> Conditioning:
        """Return the conditioning of one prompt of any length, float32.

        ``token_ids`` (N, encoders, 77) are read one after the other, ``weights`` (N, 77) are of their tokens. What weighs nothing
        is as what pads the piece. The pooled embedding, where there is one, is that of the first piece.
        """
        import torch

        components = {component: getattr(pipeline, component) for component in self.text_components}
        with torch.no_grad():
            # One after the other: as much memory as for one.
            pieces = [self.encode_tokens(components, ids[None]) for ids in token_ids]
        embeds = torch.cat([piece.stack(PROMPT_EMBEDS) for piece in pieces]).float()
        weights = weights[..., None].to(embeds.device)
        padding = embeds[:, -1:]
        weighted = torch.where(weights == 1, embeds, padding + (embeds - padding) * weights)
        return pieces[0].to(dtype=torch.float32).merge(prompt_embeds=weighted.flatten(0, 1)[None])

    def equalize(self, pipeline: Any, prompts: Sequence[Conditioning]) -> list[Conditioning]:
        import torch

        embeds = [prompt.stack(PROMPT_EMBEDS) for prompt in prompts]
        longest = max(embed.shape[1] for embed in embeds)
        if all(embed.shape[1] == longest for embed in embeds):
            return list(prompts)
        empty = self.encode_prompts(pipeline, [""]).stack(PROMPT_EMBEDS)
        padded = [torch.cat([embed, *[empty] * ((longest - embed.shape[1]) // empty.shape[1])], dim=1) for embed in embeds]
        return [prompt.merge(prompt_embeds=embed) for prompt, embed in zip(prompts, padded, strict=True)]

    def reencode(self, components: Mapping[str, Any], conditioning: Conditioning) -> Conditioning:
        """Return ``conditioning`` with what the text encoders make of its ``token_ids`` now; zeros where there is no prompt."""
        token_ids = conditioning.stack(TOKEN_IDS)
        encoded = self.encode_tokens(components, token_ids.clamp(min=0))
        has_prompt = (token_ids >= 0).all(dim=(1, 2))
        kept = {}
        for name in encoded.tensors:
            values = encoded.stack(name)
            kept[name] = values * has_prompt.reshape(-1, *[1] * (values.dim() - 1))
        return conditioning.merge(**kept)

    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        # A token is a byte at least, and reading a tokenizer takes seconds.
        if all(len(prompt.encode()) <= self.max_prompt_tokens for prompt in prompts):
            return [""] * len(prompts)
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokens = tokenizer(list(prompts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        most = self.max_prompt_tokens
        pairs = zip(prompts, tokens["offset_mapping"], strict=True)
        return [prompt[offsets[most][0] :] if len(offsets) > most else "" for prompt, offsets in pairs]

    def truncated_prompt(self, pipeline: Any, prompt: str, learned_tokens: Mapping[str, int] = NO_TOKENS) -> str:
        def fits(text: str) -> bool:
            return all(len(ids) <= self.max_prompt_tokens for ids in self.tokenize(pipeline, text, learned_tokens))

        if fits(prompt):
            return ""
        # The longest beginning of whole words that fits.
        blanks = [index for index, letter in enumerate(prompt) if letter.isspace()]
        low, high = 0, len(blanks)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(prompt[: blanks[middle - 1]]) else (low, middle - 1)
        return prompt[blanks[low - 1] if low else 0 :].strip()


def _plain(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return ids


def _tokenize(prompt: str, tokenizer: Any, vocab_size: int, learned_tokens: Mapping[str, int]) -> list[int]:
    """A prompt as tokens; those of ``learned_tokens`` are numbered from ``vocab_size`` on."""
    ids, position = list[int](), 0
    ends = accumulate(learned_tokens.values(), initial=vocab_size)
    numbers = {text: list(range(start, end)) for text, (start, end) in zip(learned_tokens, pairwise(ends), strict=True)}
    longest = sorted(learned_tokens, key=len, reverse=True)
    for match in whole_word_pattern(longest).finditer(prompt) if learned_tokens else ():
        assert match.lastindex is not None
        ids += _plain(prompt[position : match.start()], tokenizer) + numbers[longest[match.lastindex - 1]]
        position = match.end()
    return ids + _plain(prompt[position:], tokenizer)


def _padded(tokens: Sequence[int], tokenizer: Any) -> list[int]:
    marked = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    return marked + [tokenizer.pad_token_id] * (LENGTH - len(marked))
