"""What every feature extractor is: images, and with some also texts, as vectors that lie near one another for like things."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.config import Strict
from foundation.errors import BadInput
from foundation.hashing import hash_files, hash_value

Pixels = NDArray[np.uint8]
"""An image, (height, width, 3)."""
Features = NDArray[np.float64]
"""Rows of unit length, (images or texts, dimensions)."""

_BATCH = 32


class Identity(Strict):
    """Which extractor it was, to the last bit: ``weights`` is a repository or a folder, ``revision`` its commit or its hash."""

    name: str
    weights: str | None
    revision: str
    is_smoke_check: bool = False


class Extractor(ABC):
    """Turns images into features; those that read texts put both into one space."""

    identity: Identity
    reads_text: bool = False
    is_critic: bool = False
    """Whether it has learned what people like: it rates and never decides."""

    @classmethod
    @abstractmethod
    def identify(cls, weights: str | None) -> Identity:
        """Which one ``weights`` are, without loading them; raises as ``open`` does."""

    @classmethod
    @abstractmethod
    def open(cls, weights: str | None) -> "Extractor":
        """Load it from ``weights``, a repository with ``@revision`` after it if one is meant, or a folder; None: where it usually
        is. ``BadInput`` says how to get weights that are not there.
        """

    @abstractmethod
    def images(self, images: Sequence[Pixels]) -> Features:
        """Features of images of any sizes."""


class Weightless(Extractor):
    """One that is nothing but arithmetic: its class has its ``identity``."""

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        name = cls.identity.name
        if weights is not None:
            raise BadInput(f"{name}={weights}: the extractor {name} has no weights. Name it alone, as {name}.")
        return cls.identity

    @classmethod
    def open(cls, weights: str | None) -> "Weightless":
        cls.identify(weights)
        return cls()


class Reader(Extractor):
    """One that reads texts too."""

    reads_text = True

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Features:
        """Features of texts, in the images' space."""


def normalized(features: Any) -> Features:
    """Rows brought to unit length."""
    rows = np.asarray(features, np.float64)
    found: Features = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    """``items`` in groups that fit into memory; the same groups every time, for the last bits depend on them."""
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def located(weights: str, advice: str) -> Path:
    """The folder of a model: one that is named, one of the models folder that is called as the repository, or the hub's cache.

    Nothing is downloaded; ``BadInput`` gives ``advice`` on what is not here.
    """
    repository, _, revision = weights.partition("@")
    # Which revision a folder is of it does not tell: one that is asked for is looked for in the cache.
    for folder in (Path(weights), *([] if revision else [Path("models", Path(repository).name)])):
        if folder.is_dir():
            return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, ValueError):
        raise BadInput(f"{weights}: neither a folder nor in the hub's cache. {advice}") from None
    return found


def revision_of(folder: Path) -> str:
    """The commit of a folder in the hub's cache, the hash of the files of any other."""
    if folder.parent.name == "snapshots":
        return folder.name
    return f"sha256:{hash_value({**hash_files(folder, '*.safetensors'), **hash_files(folder, '*.json')})}"
