"""The adapters that an evaluation is about: what the server means by each, and what its file tells of its training."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from evaluation.client import Client
from evaluation.results import Subject
from foundation.hashing import hash_file


def identified(client: Client, name: str, path: str, variant: str) -> Subject:
    """The adapter called ``name`` that the server reads from ``path``; ``BadInput`` when it cannot use that."""
    sha256 = client.identify(path, variant)
    file = Path(path)
    # A server elsewhere may mean another file by the same path.
    is_here = file.is_file() and hash_file(file) == sha256
    return Subject(name=name, path=path, sha256=sha256, training=training(file) if is_here else None)


def training(file: Path) -> str | None:
    """How many steps the weights in ``file`` are of, and why there are no more: kohya's ``ss_steps``, ``ss_max_train_steps`` and
    ``ss_training_comment``. None where it does not tell, or is no safetensors file.
    """
    try:
        with safe_open(file, "np") as opened:
            told = opened.metadata() or {}
    except SafetensorError:
        return None
    if not (steps := told.get("ss_steps")):
        return None
    most, comment = told.get("ss_max_train_steps"), told.get("ss_training_comment")
    # Kohya writes the word None for a comment that was not given.
    comment = None if comment in ("", "None") else comment
    return f"step {steps}{f' of at most {most}' if most else ''}{f': {comment}' if comment else ''}"
