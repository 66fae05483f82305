"""Words that an adapter brings with it: what the text encoders read in a word's place was learned too (arXiv 2208.01618).

No reader of adapter files takes them from every layout, so they are written as a file of their own beside the adapter,
``<name>_emb.safetensors`` with the tensors ``clip_l`` and ``clip_g``, which ComfyUI, A1111 and diffusers read as an embedding.
Those that OneTrainer packs into the adapter's own file (``bundle_emb.``) are read as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from foundation.files import read_json, write_json
from zthumb.adapters import header, safetensors_file
from zthumb.adapters.header import Header

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.adapters.module_shapes import ModuleShapes

ENDING = "_emb.safetensors"
BUNDLED = "bundle_emb."
_PARTS: Mapping[str, str] = MappingProxyType({"clip_l": "text_encoder", "clip_g": "text_encoder_2"})
_WORD = "modelspec.trigger_phrase"
_LONGEST = 200
"""Letters of a word."""
_MOST = 75
"""Tokens of a prompt that SDXL's text encoders read."""


@dataclass(frozen=True)
class LearnedEmbedding:
    """``text`` as it stands in a prompt, and by text encoder the ``vectors`` (tokens, width) that are read in its place."""

    text: str
    vectors: Mapping[str, Tensor]

    @property
    def tokens(self) -> int:
        """How many tokens stand for the word."""
        return int(next(iter(self.vectors.values())).shape[0])


def save(word: LearnedEmbedding, path: Path) -> None:
    """Write ``word`` to a file of its own."""
    tensors = {name: word.vectors[part].contiguous() for name, part in _PARTS.items()}
    safetensors_file.write(tensors, {"format": "pt", _WORD: word.text}, path)


def beside(file: Path) -> Path | None:
    """The file of the words of the adapter in ``file``; None where there is none.

    It has the adapter's name, but for those in the diffusers layout, which are all called the same: there it is the folder's
    only one.
    """
    own = file.with_name(f"{file.stem}{ENDING}")
    if own.is_file():
        return own
    if file.name not in (header.DIFFUSERS_FILE, header.PEFT_FILE):
        return None
    found = sorted(file.parent.glob(f"*{ENDING}"))
    return found[0] if len(found) == 1 else None


def note_triggers(file: Path, triggers: Sequence[str]) -> None:
    """Keep, beside an adapter from elsewhere, the words that call it up as its page tells them."""
    if triggers:
        write_json(_note(file), list(triggers))


def trigger_of(file: Path) -> str | None:
    """The word that calls the adapter in ``file`` up: as its header tells it, that of its words, or what was noted beside it.

    None where none of them does.
    """
    told = [header.read(each).metadata.get(_WORD, "").strip() for each in (file, beside(file)) if each is not None]
    told += [str(word).strip() for word in (read_json(_note(file)) if _note(file).is_file() else [])]
    return next((word for word in told if 0 < len(word) <= _LONGEST), None)


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.triggers.json")


def read(found: Header, base: ModuleShapes) -> tuple[LearnedEmbedding, ...]:
    """The words of the adapter in a file, both those in it and those beside it; ``BadInput`` where they do not fit ``base``."""
    bundled: dict[str, dict[str, str]] = defaultdict(dict)
    for name in found.shapes:
        if name.startswith(BUNDLED):
            text, _, part = name.removeprefix(BUNDLED).rpartition(".")
            bundled[text][part] = name
    words = [_word(found, text, names, base) for text, names in sorted(bundled.items())]
    if file := beside(found.file):
        other = header.read(file)
        words.append(_word(other, other.metadata.get(_WORD, ""), {name: name for name in other.shapes}, base))
    return tuple(words)


def _check_shapes(found: Header, text: str, names: Mapping[str, str], base: ModuleShapes) -> None:
    if set(names) != set(_PARTS) or len(text) > _LONGEST:
        told = ", ".join(sorted(names.values())[:4])
        raise BadInput(f"{found.file}: a word with {told}; expected {' and '.join(_PARTS)}, one for each text encoder.")
    for key, part in _PARTS.items():
        shape, width = found.shapes[names[key]], base.text_width(part)
        if len(shape) != 2 or not 1 <= shape[0] <= _MOST or shape[1] != width:
            told = f"{names[key]} {shape} does not fit {base.name} (…, {width})"
            raise BadInput(f"{found.file}: a word for another base: {told}.")
    if len({found.shapes[name][0] for name in names.values()}) > 1:
        raise BadInput(f"{found.file}: the word {text!r} has another number of tokens for each text encoder.")


def _word(found: Header, text: str, names: Mapping[str, str], base: ModuleShapes) -> LearnedEmbedding:
    """A word by the ``names`` of its tensors; one without a ``text`` is called as diffusers' trainers do."""
    from safetensors import SafetensorError, safe_open

    _check_shapes(found, text, names, base)
    try:
        with safe_open(found.file, "pt") as file:
            vectors = {part: file.get_tensor(names[key]).float() for key, part in _PARTS.items()}
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{found.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    if not all(each.isfinite().all() for each in vectors.values()):
        raise BadInput(f"{found.file}: the word {text!r} holds NaN or infinity: the training that made it had failed.")
    count = len(next(iter(vectors.values())))
    return LearnedEmbedding(text.strip() or "".join(f"<s{number}>" for number in range(count)), vectors)
