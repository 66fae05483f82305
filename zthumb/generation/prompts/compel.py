"""Prompts in compel's grammar: ``red++``, ``(a star)1.3``, ``("a star", "a circle").blend(0.7, 0.3)``, ``("one", "two").and()``.

The library (https://github.com/damian0815/compel) parses and weighs; learned tokens of adapters work in it as everywhere else.
A prompt of any length is read in pieces that fit the text encoders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zthumb.generation.prompts.base import (
    MAX_TOKEN_WEIGHT,
    Fragment,
    Malformed,
    Parser,
    check_pieces,
    check_weight,
    clip_text,
)

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ModelFamily
    from zthumb.families.shared.clip_text import ClipTextFamily

_LONGEST, _WORK, _DEEPER = 4000, 300, 4
"""Characters; and how often a bracket may be looked at, each one deeper so many times as often: about a second's reading."""
_BRACKET = re.compile(r"\\.|[()]", re.DOTALL)
_SWAP = re.compile(r"\.swap\s*\(|withLora\s*\(|useLora\s*\(")
_OPERATOR = re.compile(r"\.(blend|and|add)\s*\(")
_SQUEEZED = re.compile(r",(?=\S)")


class Compel(Parser):
    """compel's grammar, without what it has for attention maps and adapters."""

    marks = (re.compile(r"(?<!\w)\w+(?:\+\+|--)[+-]*(?!\w)|\)(?:\+|-|\d*\.\d)"), re.compile(r"\)\.(?:blend|and)\s*\("))

    def check(self, text: str) -> None:
        """See ``Parser``."""
        _parsed(text)

    def fragments_of(self, text: str) -> Sequence[Fragment]:
        """See ``Parser``; the weights in a blend are multiplied by its prompts' own."""
        return [fragment for prompt in _parsed(text).prompts for fragment in _fragments(prompt, 1.0)]

    def weighted(self, text: str, weight: float) -> str:
        """See ``Parser``."""
        if re.fullmatch(r"[\w ]+", text) is None:
            raise ValueError(f"{text!r} has marks in it that prompt_parser compel has no other way to write")
        return text if weight == 1 else f"({text}){weight:.4f}"

    def encode(self, text: str, pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]) -> Conditioning:
        """See ``Parser``."""
        import torch

        conjunction, clip = _parsed(text), clip_text(family, "compel")
        texts = [each for prompt in conjunction.prompts for each in _texts(prompt)]
        check_pieces(sum(len(clip.tokenize(pipeline, each, learned_tokens)[0]) for each in texts), clip.max_prompt_tokens)
        with torch.no_grad():
            embeds = [
                _library(_Tokenizer(tokenizer, number, pipeline, clip, learned_tokens), encoder, clip)
                .build_conditioning_tensor_for_conjunction(conjunction)[0]
                .float()
                for number, (tokenizer, encoder) in enumerate(clip.text_encoders(pipeline).values())
            ]
        whole: Conditioning = _blended(conjunction.prompts[0], pipeline, clip, learned_tokens)
        encoded: Conditioning = clip.with_prompt_embeds(embeds, whole)
        return encoded


class _Tokenizer:
    """A tokenizer that knows learned tokens, with all that the library asks of one."""

    def __init__(
        self, tokenizer: Any, number: int, pipeline: Any, family: ClipTextFamily, learned_tokens: Mapping[str, int]
    ) -> None:
        self._tokenizer, self._number, self._learned_tokens = tokenizer, number, learned_tokens
        self._pipeline, self._family = pipeline, family
        self.model_max_length = family.max_prompt_tokens + 2
        self.bos_token_id, self.eos_token_id, self.pad_token_id = (
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
        )

    def __call__(self, texts: Sequence[str], truncation: bool = False, **_: Any) -> dict[str, list[list[int]]]:
        tokenized = [self._family.tokenize(self._pipeline, text, self._learned_tokens)[self._number] for text in texts]
        most = self._family.max_prompt_tokens if truncation else None
        return {"input_ids": [[self.bos_token_id, *ids[:most], self.eos_token_id] for ids in tokenized]}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens' texts, where the library looks for the ends of words; a learned token ends none and stays whole."""
        return [self._tokenizer.convert_ids_to_tokens(token_id) or "" for token_id in ids]


def _library(tokenizer: _Tokenizer, encoder: Any, family: ClipTextFamily) -> Any:
    from compel import Compel as Library
    from compel import ReturnedEmbeddingsType

    kinds = ReturnedEmbeddingsType
    return Library(
        tokenizer=tokenizer,
        text_encoder=encoder,
        returned_embeddings_type=kinds.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        if family.reads_penultimate
        else kinds.LAST_HIDDEN_STATES_NORMALIZED,
        truncate_long_prompts=False,
    )


def _parsed(text: str) -> Any:
    """The library's parse; ``Malformed`` where it would take marks for words, or fail."""
    from compel.prompt_parser import PromptParser
    from pyparsing import ParseException

    _check_brackets(text)
    if found := _SWAP.search(text):
        raise Malformed(found.start(), f"{found[0].strip('(. ')} is not supported here; name adapters in loras")
    operator = _OPERATOR.search(text)
    try:
        conjunction = PromptParser().parse_conjunction(text)
    except ParseException as error:
        raise Malformed(_as_written(text, error.loc), "the prompt should end here: blend and and are of whole prompts") from None
    except (PromptParser.ParsingException, ValueError, RecursionError, ArithmeticError):
        place = operator.start() if operator else 0
        raise Malformed(place, "takes as many numbers as there are prompts before it, each in quotes") from None
    if operator and not _is_operated(conjunction):
        raise Malformed(operator.start(), "blend and and are of whole prompts: nothing may stand before the bracket")
    if not conjunction.prompts:
        raise Malformed(0, "nothing is left to be read but marks")
    for prompt in conjunction.prompts:
        _check_weights(prompt, operator.start() if operator else 0)
    return conjunction


def _check_weights(prompt: Any, place: int) -> None:
    from compel.prompt_parser import Blend

    if not isinstance(prompt, Blend):
        for fragment in prompt.children:
            check_weight(fragment.weight, place)
        return
    if not all(abs(weight) <= MAX_TOKEN_WEIGHT for weight in prompt.weights) or abs(sum(prompt.weights)) < 0.01:
        raise Malformed(place, f"the numbers of a blend are -{MAX_TOKEN_WEIGHT:g} to {MAX_TOKEN_WEIGHT:g}, and together not 0")
    for each in prompt.prompts:
        _check_weights(each, place)


def _texts(prompt: Any) -> list[str]:
    """The words of a prompt without marks, of each that is blended."""
    from compel.prompt_parser import Blend

    if isinstance(prompt, Blend):
        return [text for each in prompt.prompts for text in _texts(each)]
    return [" ".join(fragment.text for fragment in prompt.children)]


def _fragments(prompt: Any, weight: float) -> list[Fragment]:
    from compel.prompt_parser import Blend

    if isinstance(prompt, Blend):
        pairs = zip(prompt.prompts, prompt.weights, strict=True)
        return [fragment for each, share in pairs for fragment in _fragments(each, weight * share)]
    return [Fragment(fragment.text, weight * fragment.weight) for fragment in prompt.children]


def _is_operated(conjunction: Any) -> bool:
    from compel.prompt_parser import Blend

    return len(conjunction.prompts) > 1 or any(isinstance(prompt, Blend) for prompt in conjunction.prompts)


def _check_brackets(text: str) -> None:
    if len(text) > _LONGEST:
        raise Malformed(_LONGEST, f"prompt_parser compel reads {_LONGEST:,} characters; lpw reads more")
    open_at, work = list[int](), 0
    for found in _BRACKET.finditer(text):
        if found[0] == "(":
            open_at.append(found.start())
            work += _DEEPER ** (len(open_at) - 1)
            if work > _WORK:
                raise Malformed(found.start(), "too many brackets, or brackets in brackets")
        elif found[0] == ")":
            if not open_at:
                raise Malformed(found.start(), ") closes nothing; write \\) for the bracket itself")
            open_at.pop()
    if open_at:
        raise Malformed(open_at[-1], "( is never closed; write \\( for the bracket itself")


def _as_written(text: str, place: int) -> int:
    """The library puts a space after each comma before it counts."""
    for found in _SQUEEZED.finditer(text):
        if found.start() < place:
            place -= 1
    return min(place, len(text))


def _blended(prompt: Any, pipeline: Any, family: ClipTextFamily, learned_tokens: Mapping[str, int]) -> Conditioning:
    """The conditioning of a prompt's words without marks; that of a blend is the weighted sum of its prompts'.

    The library encodes tokens alone; embeddings of whole prompts are taken from here.
    """
    from compel.prompt_parser import Blend

    if not isinstance(prompt, Blend):
        return family.encode_prompts(pipeline, _texts(prompt), learned_tokens)
    total = sum(prompt.weights) if prompt.normalize_weights else 1.0
    encoded = [_blended(each, pipeline, family, learned_tokens) for each in prompt.prompts]
    shares = [weight / total for weight in prompt.weights]
    summed = {
        name: sum(one.stack(name) * share for one, share in zip(encoded, shares, strict=True)) for name in encoded[0].tensors
    }
    return encoded[0].merge(**summed)


PARSER = Compel()
