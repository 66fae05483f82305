"""The adapters of an evaluation: what the server loads for each, and what its file says about its training."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from evaluation.collection.client import Client
from evaluation.results import EvaluatedAdapter
from foundation.hashing import hash_file


def identify_adapter(client: Client, name: str, path: str, variant: str) -> EvaluatedAdapter:
    """Return the adapter ``name`` that the server loads from ``path``; ``BadInput`` if the server cannot use it."""
    sha256 = client.identify(path, variant)
    file = Path(path)
    # A server on another machine may have another file at the same path.
    is_local = file.is_file() and hash_file(file) == sha256
    return EvaluatedAdapter(name=name, path=path, sha256=sha256, training=describe_training(file) if is_local else None)


def describe_training(file: Path) -> str | None:
    """Return how many steps the weights in ``file`` were trained for, and why no more: kohya's ``ss_steps``,
    ``ss_max_train_steps`` and ``ss_training_comment``. None if it does not say, or is not a safetensors file.
    """
    try:
        with safe_open(file, "np") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError:
        return None
    if not (steps := metadata.get("ss_steps")):
        return None
    max_steps, comment = metadata.get("ss_max_train_steps"), metadata.get("ss_training_comment")
    # Kohya writes the word None for a missing comment.
    comment = None if comment in ("", "None") else comment
    return f"step {steps}{f' of at most {max_steps}' if max_steps else ''}{f': {comment}' if comment else ''}"
