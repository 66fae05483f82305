"""Text encoders under the names of published files, which every version of transformers and every other program reads.

transformers 5 writes a ``CLIPTextModel`` without its ``text_model.`` level. Versions before it do not find those names and start
from random weights, without an error; it reads both.
"""

from __future__ import annotations

from pathlib import Path

from zthumb.checkpoints.clip_keys import inside_text_model

_FILE = "model.safetensors"
_CLASS = "CLIPTextModel"


def write_published_names(pipeline: Path) -> None:
    """Give the CLIP text encoders in the folder of a ``pipeline`` the published names of their tensors."""
    import json

    from safetensors import safe_open

    from zthumb.checkpoints import safetensors_file

    for folder in sorted(path.parent for path in pipeline.glob(f"text_encoder*/{_FILE}")):
        kinds = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
        if not any(str(kind).startswith(_CLASS) for kind in kinds):
            continue
        with safe_open(folder / _FILE, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {inside_text_model(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        safetensors_file.write(tensors, metadata, folder / _FILE)
