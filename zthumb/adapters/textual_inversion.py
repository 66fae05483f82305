"""Learned embeddings that come with an adapter: vectors that the text encoders read for a word (arXiv 2208.01618).

No program reads them from every adapter layout, so they are written to a file of their own next to the adapter,
``<name>_emb.safetensors`` with the tensors that the family's ``embedding_keys`` names, which ComfyUI, A1111 and diffusers read as
an embedding. Those that OneTrainer bundles into the adapter's own file (``bundle_emb.``) are read as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from zthumb.checkpoints import header as headers
from zthumb.checkpoints import safetensors_file
from zthumb.checkpoints.header import Header
from zthumb.sources.trigger_words import stored_triggers

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.adapters.module_shapes import ModuleShapes
    from zthumb.families.base import ModelFamily

ENDING = "_emb.safetensors"
BUNDLED_PREFIX = "bundle_emb."
_A1111_KEY = "string_to_param.*"
_TRIGGER_KEY = "modelspec.trigger_phrase"
_MAX_CHARACTERS = 200
"""Of the text of a learned embedding."""
_MAX_TOKENS = 75
"""Of a prompt that CLIP text encoders read."""


@dataclass(frozen=True)
class LearnedEmbedding:
    """``text`` as it appears in a prompt, and by text encoder the ``vectors`` (tokens, width) that are read in its place."""

    text: str
    vectors: Mapping[str, Tensor]

    @property
    def tokens(self) -> int:
        """Return the number of tokens that the text stands for."""
        return int(next(iter(self.vectors.values())).shape[0])


def save(embedding: LearnedEmbedding, path: Path, family: ModelFamily) -> None:
    """Write ``embedding`` to a file of its own, for bases of ``family``."""
    tensors = {name: embedding.vectors[component].contiguous() for name, component in family.embedding_keys.items()}
    safetensors_file.write(tensors, {"format": "pt", _TRIGGER_KEY: embedding.text}, path)


def embedding_file_of(file: Path) -> Path | None:
    """Return the file with the learned embedding of the adapter in ``file``; None if there is none.

    It is named after the adapter. Adapters in the diffusers layout or PEFT's all have the same file name: theirs is the only
    embedding file in the folder.
    """
    own_file = file.with_name(f"{file.stem}{ENDING}")
    if own_file.is_file():
        return own_file
    if file.name not in (headers.DIFFUSERS_FILE, headers.PEFT_FILE):
        return None
    candidates = sorted(file.parent.glob(f"*{ENDING}"))
    return candidates[0] if len(candidates) == 1 else None


def trigger_of(file: Path) -> str | None:
    """Return the trigger word of the adapter in ``file``, or None if none is known.

    It is looked up in the adapter's header, in its learned embedding, and in what ``store_triggers`` stored, in this order.
    """
    sources = (file, embedding_file_of(file))
    triggers = [headers.read(source).metadata.get(_TRIGGER_KEY, "").strip() for source in sources if source is not None]
    triggers += [word.strip() for word in stored_triggers(file)]
    return next((trigger for trigger in triggers if 0 < len(trigger) <= _MAX_CHARACTERS), None)


def read_learned_embeddings(header: Header, base: ModuleShapes) -> tuple[LearnedEmbedding, ...]:
    """Return the learned embeddings in and next to the adapter file of ``header``; ``BadInput`` if they do not fit ``base``."""
    bundled: dict[str, dict[str, str]] = defaultdict(dict)
    for name in header.shapes:
        if name.startswith(BUNDLED_PREFIX):
            text, key = _split(name.removeprefix(BUNDLED_PREFIX))
            bundled[text][key] = name
    embeddings = [_read_embedding(header, text, names, base) for text, names in sorted(bundled.items())]
    if file := embedding_file_of(header.file):
        own_header = headers.read(file)
        text, names = own_header.metadata.get(_TRIGGER_KEY, ""), {name: name for name in own_header.shapes}
        embeddings.append(_read_embedding(own_header, text, names, base))
    return tuple(embeddings)


def _split(name: str) -> tuple[str, str]:
    """Split the name of a bundled tensor into the text of its embedding and its own name, which may be A1111's of a file."""
    if name.endswith(f".{_A1111_KEY}"):
        return name.removesuffix(f".{_A1111_KEY}"), _A1111_KEY
    text, _, key = name.rpartition(".")
    return text, key


def _meant(names: Mapping[str, str], keys: Mapping[str, str]) -> Mapping[str, str]:
    """Return the tensors by the family's ``keys``: of one text encoder there is one tensor, whatever a program calls it."""
    return dict.fromkeys(keys, *names.values()) if len(keys) == len(names) == 1 else names


def _two_dimensional(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Some programs store a single token without its dimension."""
    return (1, *shape) if len(shape) == 1 else shape


def _check_shapes(header: Header, text: str, names: Mapping[str, str], base: ModuleShapes) -> None:
    keys = base.family.embedding_keys
    if set(names) != set(keys) or len(text) > _MAX_CHARACTERS:
        tensors = ", ".join(sorted(names.values())[:4])
        raise BadInput(f"{header.file}: learned tokens with {tensors}; expected {' and '.join(keys)}, one for each text encoder.")
    for key, component in keys.items():
        shape, width = _two_dimensional(header.shapes[names[key]]), base.text_width(component)
        if len(shape) != 2 or not 1 <= shape[0] <= _MAX_TOKENS or shape[1] != width:
            reason = f"{names[key]} {shape} does not fit {base.name} (…, {width})"
            raise BadInput(f"{header.file}: learned tokens for another base: {reason}.")
    if len({_two_dimensional(header.shapes[name])[0] for name in names.values()}) > 1:
        raise BadInput(f"{header.file}: {text!r} has different numbers of learned tokens for the text encoders.")


def _read_embedding(header: Header, text: str, names: Mapping[str, str], base: ModuleShapes) -> LearnedEmbedding:
    """Read a learned embedding by the ``names`` of its tensors; without a ``text`` it gets the name diffusers' trainers use."""
    from safetensors import SafetensorError, safe_open

    names = _meant(names, base.family.embedding_keys)
    _check_shapes(header, text, names, base)
    try:
        with safe_open(header.file, "pt") as file:
            stored = {component: file.get_tensor(names[key]).float() for key, component in base.family.embedding_keys.items()}
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{header.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    vectors = {component: rows.reshape(_two_dimensional(tuple(rows.shape))) for component, rows in stored.items()}
    if not all(rows.isfinite().all() for rows in vectors.values()):
        raise BadInput(
            f"{header.file}: the learned tokens of {text!r} contain NaN or infinity: the training that produced them failed."
        )
    count = len(next(iter(vectors.values())))
    return LearnedEmbedding(text.strip() or "".join(f"<s{number}>" for number in range(count)), vectors)
