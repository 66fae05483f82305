"""Kinds of models: which files of a hub repository each one needs, and how to tell that a folder has all of them."""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.files import read_json
from zthumb.sources.local import INDEX, UNUSED

_CONFIGURATION = "config.json"
_SKIPPED = ("*.fp16.safetensors", "*.non_ema.safetensors", "*openvino*", "*onnx*", "*flax*", *(f"{name}/*" for name in UNUSED))


@dataclass(frozen=True)
class Kind:
    """A kind of model: the file name patterns to download from a repository and those to skip, and a limit in bytes."""

    allow_patterns: Sequence[str]
    ignore_patterns: Sequence[str]
    is_complete: Callable[[Path], bool]
    max_bytes: int = 64 * 2**30

    def includes(self, name: str) -> bool:
        """Return whether a model of this kind needs the file ``name`` of a repository."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.allow_patterns) and not any(
            fnmatch.fnmatch(name, pattern) for pattern in self.ignore_patterns
        )


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _has_all_components(folder: Path) -> bool:
    """Return whether every component of the index is there, with weights if it has a configuration; or one model with weights."""
    if not (folder / INDEX).is_file():
        return (folder / _CONFIGURATION).is_file() and _has_weights(folder)
    components = [folder / name for name in _named_components(folder) if name not in UNUSED]
    return all(path.is_dir() and (_has_weights(path) or not (path / _CONFIGURATION).is_file()) for path in components)


def _named_components(folder: Path) -> list[str]:
    """Return the components that the index of a base names, without those it says it has not."""
    return [name for name, value in read_json(folder / INDEX).items() if isinstance(value, list) and value[:1] != [None]]


def _has_configuration(folder: Path) -> bool:
    return (folder / INDEX).is_file() and all(any((folder / name).glob("*.json")) for name in ("tokenizer", "scheduler"))


MODEL = Kind(
    ("*.json", "*.txt", "*.jinja", "*.model", "model.safetensors", "*/*.safetensors"),
    _SKIPPED,
    _has_all_components,
    max_bytes=128 * 2**30,
)
"""A base, or another model with a configuration: without single-file duplicates of its components, and without code."""
WITHOUT_WEIGHTS = Kind(("*.json", "*.txt", "*.jinja"), _SKIPPED, _has_configuration)
"""A base without its weights."""
AUTOENCODER = Kind(
    (_CONFIGURATION, "diffusion_pytorch_model.safetensors"),
    ("*/*",),
    lambda folder: (folder / _CONFIGURATION).is_file() and _has_weights(folder),
)
TEXT_ENCODER = Kind(
    (_CONFIGURATION, "model*.safetensors"),
    ("*/*",),
    lambda folder: (folder / _CONFIGURATION).is_file() and _has_weights(folder),
)
ADAPTER = Kind(("*.json", "*.safetensors"), ("*/*",), _has_weights, max_bytes=8 * 2**30)
