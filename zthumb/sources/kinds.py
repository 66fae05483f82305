"""What is looked for: which files of a repository of the hub make it up, and how a folder is known to have all of them."""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.files import read_json
from zthumb.sources.local import INDEX

_CONFIGURATION = "config.json"
_OTHER_FORMS = ("*.fp16.safetensors", "*.non_ema.safetensors", "*openvino*", "*onnx*", "*flax*")


@dataclass(frozen=True)
class Kind:
    """A kind of model: the files that are ``wanted`` of a repository but not those ``unwanted``, of at most so many bytes."""

    wanted: Sequence[str]
    unwanted: Sequence[str]
    is_whole: Callable[[Path], bool]
    most_bytes: int = 64 * 2**30

    def takes(self, name: str) -> bool:
        """Whether the file called ``name`` in a repository is of it."""
        return any(fnmatch.fnmatch(name, each) for each in self.wanted) and not any(
            fnmatch.fnmatch(name, each) for each in self.unwanted
        )


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _has_all_parts(folder: Path) -> bool:
    """Every part that the index names is there, with weights if it is built from any; or it is one model with weights."""
    if not (folder / INDEX).is_file():
        return (folder / _CONFIGURATION).is_file() and _has_weights(folder)
    named = {part: value for part, value in read_json(folder / INDEX).items() if isinstance(value, list) and value[:1] != [None]}
    parts = [folder / part for part in named]
    return all(part.is_dir() and (_has_weights(part) or not (part / _CONFIGURATION).is_file()) for part in parts)


def _has_rest(folder: Path) -> bool:
    return (folder / INDEX).is_file() and all(any((folder / part).glob("*.json")) for part in ("tokenizer", "scheduler"))


MODEL = Kind(("*.json", "*.txt", "*.model", "model.safetensors", "*/*.safetensors"), _OTHER_FORMS, _has_all_parts)
"""A base, or another model with a configuration: not the same once more in one file beside its parts, and no programs."""
WITHOUT_WEIGHTS = Kind(("*.json", "*.txt"), _OTHER_FORMS, _has_rest)
"""A base but for its weights."""
AUTOENCODER = Kind(
    (_CONFIGURATION, "diffusion_pytorch_model.safetensors"),
    ("*/*",),
    lambda folder: (folder / _CONFIGURATION).is_file() and _has_weights(folder),
)
ADAPTER = Kind(("*.json", "*.safetensors"), ("*/*",), _has_weights, most_bytes=8 * 2**30)
