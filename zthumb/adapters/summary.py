"""What a person wants to know of an adapter file before using it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from foundation.hashing import hash_file
from zthumb.adapters import header
from zthumb.adapters.bases import Recognised
from zthumb.adapters.difference import norm
from zthumb.adapters.effect import dense_change
from zthumb.adapters.header import Header

_WORDS = ("modelspec.trigger_phrase", "ss_output_name", "modelspec.title", "ss_base_model_version", "ss_sd_model_name")


@dataclass(frozen=True)
class Summary:
    """One adapter: what it is, what it fits, how strong it is.

    ``ranks`` counts modules by rank, ``scales`` by scale; ``norms`` are of the change of each part of the model (Frobenius).
    ``words`` are those it teaches the text encoders, each with its number of tokens. ``told`` is what the header says of itself
    and cannot be checked.
    """

    file: str
    bytes: int
    sha256: str
    layout: str
    kind: str
    fits: str
    modules: dict[str, int]
    ranks: dict[str, int]
    scales: dict[str, int]
    norms: dict[str, float]
    dtypes: dict[str, int]
    words: dict[str, int]
    told: dict[str, str]
    notes: tuple[str, ...] = ()


def summarise(path: Path, recognised: Recognised) -> Summary:
    """Everything about the adapter in ``path``, which was read as ``recognised``."""
    found, adapter = header.read(path), recognised.adapter
    return Summary(
        file=str(found.file),
        bytes=found.file.stat().st_size,
        sha256=hash_file(found.file),
        layout=_layout(found),
        kind=" and ".join(adapter.kinds),
        fits=recognised.base.name,
        modules={part: sum(path.startswith(f"{part}.") for path in adapter.paths) for part in adapter.parts},
        ranks=_counted([str(layer.rank) for layer in adapter.layers.values()]),
        scales=_counted([f"{layer.scale:g}" for layer in adapter.layers.values()]),
        norms={part: _norm(recognised, part) for part in adapter.parts},
        dtypes=_counted(list(found.dtypes.values())),
        words={word.text: word.tokens for word in adapter.words},
        told={key: found.metadata[key] for key in _WORDS if key in found.metadata},
        notes=adapter.notes,
    )


def lines(summary: Summary) -> list[str]:
    """The summary for a terminal."""
    counted = {"ranks": summary.ranks, "scales": summary.scales, "dtypes": summary.dtypes}
    rows = [
        ("file", f"{summary.file} ({summary.bytes / 2**20:.1f} MiB)"),
        ("sha256", summary.sha256),
        ("what", f"{summary.kind} in the {summary.layout} layout"),
        ("fits", summary.fits),
        *((part, f"{count} modules, norm {summary.norms[part]:.3g}") for part, count in summary.modules.items()),
        *(
            (name, ", ".join(f"{value} ({count}×)" for value, count in counts.items()))
            for name, counts in counted.items()
            if counts
        ),
        *(("word", f"{text} ({count} tokens)") for text, count in summary.words.items()),
        *summary.told.items(),
        *(("note", note) for note in summary.notes),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {_printable(value)}" for name, value in rows]


def _printable(value: str) -> str:
    # What a header says of itself may hold anything, escape sequences of a terminal among it.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)


def _norm(recognised: Recognised, part: str) -> float:
    """The norm of all that is added to the weights of a part; of a DoRA without a base to compare with, that of its product."""
    adapter, base, total = recognised.adapter, recognised.base, 0.0
    for path in (path for path in adapter.paths if path.startswith(f"{part}.")):
        layer = adapter.layers.get(path)
        if path not in adapter.changes and layer is not None and (layer.magnitude is None or base.weights is None):
            total += norm(layer) ** 2
        elif (made := dense_change(adapter, path, base)) is not None:
            total += float(made.norm()) ** 2
    return float(f"{total**0.5:.6g}")


def _counted(values: list[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _layout(found: Header) -> str:
    names = list(found.shapes)
    if any(name.startswith("lycoris_") for name in names):
        return "LyCORIS"
    if any(name.startswith("lora_") for name in names):
        original = any("input_blocks" in name or "output_blocks" in name or "middle_block" in name for name in names)
        return "kohya" if original else "kohya (diffusers block names)"
    if any(name.startswith(("diffusion_model.", "text_encoders.")) for name in names):
        return "ComfyUI"
    return "diffusers" if any(name.startswith(("unet.", "text_encoder.", "text_encoder_2.")) for name in names) else "PEFT"
