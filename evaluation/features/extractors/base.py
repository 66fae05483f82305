"""The interface of a feature extractor: it embeds images, and some also texts, as vectors that are close for similar content."""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.arrays import Features, Pixels
from foundation.config import Strict
from foundation.errors import BadInput
from foundation.hashing import hash_files, hash_value

_BATCH_SIZE = 32
_SHARE_OF_LETTERS = 0.8


class Identity(Strict):
    """The exact extractor: ``weights`` is a repository or a folder, ``revision`` its commit or its hash."""

    name: str
    weights: str | None
    revision: str
    is_smoke_check: bool = False


class Extractor(ABC):
    """Embeds images; an extractor with a text encoder embeds texts in the same space."""

    identity: Identity
    has_text_encoder: bool = False
    is_preference_model: bool = False
    """Whether it was trained on human preferences: it rates images and never decides."""

    @classmethod
    @abstractmethod
    def identify(cls, weights: str | None) -> Identity:
        """Return the identity of ``weights`` without loading them; raises as ``open`` does."""

    @classmethod
    @abstractmethod
    def open(cls, weights: str | None) -> "Extractor":
        """Load it from ``weights``: a repository, optionally followed by ``@revision``, or a folder; None: the default weights.

        If the weights are missing, ``BadInput`` says how to get them.
        """

    @abstractmethod
    def embed_images(self, images: Sequence[Pixels]) -> Features:
        """Return the features of images of any sizes."""


class WeightlessExtractor(Extractor):
    """An extractor that is pure arithmetic, without weights: its class defines its ``identity``."""

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        name = cls.identity.name
        if weights is not None:
            raise BadInput(f"{name}={weights}: the extractor {name} has no weights. Write only {name}.")
        return cls.identity

    @classmethod
    def open(cls, weights: str | None) -> "WeightlessExtractor":
        cls.identify(weights)
        return cls()


class TextImageExtractor(Extractor):
    """An extractor that also embeds texts."""

    has_text_encoder = True

    @classmethod
    @abstractmethod
    def reads(cls, text: str) -> bool:
        """Return whether it was trained on texts in the script of ``text``; to others it gives features without a meaning."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> Features:
        """Return the features of texts, in the space of the images."""


def is_mostly_in(text: str, *scripts: str) -> bool:
    """Return whether most letters of ``text``, if it has any, are of ``scripts``, as Unicode names them: LATIN, CJK.

    A sign in another one, as in "5 µm", does not make a text one of another language.
    """
    letters = [letter for letter in unicodedata.normalize("NFKC", text) if letter.isalpha()]
    known = sum(unicodedata.name(letter, "").startswith(scripts) for letter in letters)
    return known >= _SHARE_OF_LETTERS * len(letters)


def normalized(features: Any) -> Features:
    """Return the rows of ``features`` scaled to unit length."""
    rows = np.asarray(features, np.float64)
    unit_rows: Features = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit_rows


def batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Return ``items`` in batches that fit into memory; always the same batches, because the last bits depend on them."""
    return [items[start : start + _BATCH_SIZE] for start in range(0, len(items), _BATCH_SIZE)]


def find_weights(weights: str, install_hint: str) -> Path:
    """Return the folder of a model: the named folder, the one in ``models/`` named like the repository, or the hub's cache.

    Nothing is downloaded; if the model is missing, ``BadInput`` ends with ``install_hint``.
    """
    repository, _, revision = weights.partition("@")
    # A folder does not say which revision it holds, so a requested revision is looked for in the cache only.
    for folder in (Path(weights), *([] if revision else [Path("models", Path(repository).name)])):
        if folder.is_dir():
            return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, ValueError):
        raise BadInput(f"{weights}: neither a folder nor in the hub's cache. {install_hint}") from None
    return snapshot


def folder_revision(folder: Path) -> str:
    """Return the commit of a folder in the hub's cache, or the hash of the files of any other folder."""
    if folder.parent.name == "snapshots":
        return folder.name
    return f"sha256:{hash_value({**hash_files(folder, '*.safetensors'), **hash_files(folder, '*.json')})}"
