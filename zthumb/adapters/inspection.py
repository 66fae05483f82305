"""What a person wants to know of an adapter file before using it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.hashing import hash_file
from zthumb.adapters.distance import norm
from zthumb.adapters.effect import dense_delta_weight
from zthumb.adapters.fitting_base import Recognized
from zthumb.checkpoints import header as headers
from zthumb.checkpoints.header import Header

_SHOWN_METADATA = ("modelspec.trigger_phrase", "ss_output_name", "modelspec.title", "ss_base_model_version", "ss_sd_model_name")


@dataclass(frozen=True)
class Summary:
    """One adapter: what it contains, which base it fits, how strong it is.

    ``ranks`` counts modules by rank, ``scales`` by scale; ``norms`` has the Frobenius norm of the change of each component.
    ``learned_tokens`` has the texts of its learned embeddings, each with its number of tokens. ``metadata`` is from the header:
    nobody can verify it.
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
    learned_tokens: dict[str, int]
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()


def summarize(path: Path, recognised: Recognized) -> Summary:
    """Return the summary of the adapter in ``path``, which was read as ``recognised``."""
    header, adapter = headers.read(path), recognised.adapter
    return Summary(
        file=str(header.file),
        bytes=header.file.stat().st_size,
        sha256=hash_file(header.file),
        layout=_layout(header, recognised.base.family.adapted_components),
        kind=" and ".join(adapter.kinds),
        fits=recognised.base.name,
        modules={component: sum(path.startswith(f"{component}.") for path in adapter.paths) for component in adapter.parts},
        ranks=_count([str(layer.rank) for layer in adapter.layers.values()]),
        scales=_count([f"{layer.scale:g}" for layer in adapter.layers.values()]),
        norms={component: _norm(recognised, component) for component in adapter.parts},
        dtypes=_count(list(header.dtypes.values())),
        learned_tokens={embedding.text: embedding.tokens for embedding in adapter.embeddings},
        metadata={key: header.metadata[key] for key in _SHOWN_METADATA if key in header.metadata},
        notes=adapter.notes,
    )


def lines(summary: Summary) -> list[str]:
    """Return the summary as lines for a terminal."""
    counted = {"ranks": summary.ranks, "scales": summary.scales, "dtypes": summary.dtypes}
    rows = [
        ("file", f"{summary.file} ({summary.bytes / 2**20:.1f} MiB)"),
        ("sha256", summary.sha256),
        ("kind", f"{summary.kind} in the {summary.layout} layout"),
        ("fits", summary.fits),
        *((component, f"{count} modules, norm {summary.norms[component]:.3g}") for component, count in summary.modules.items()),
        *(
            (name, ", ".join(f"{value} ({count}×)" for value, count in counts.items()))
            for name, counts in counted.items()
            if counts
        ),
        *(("learned tokens", f"{text} ({count} tokens)") for text, count in summary.learned_tokens.items()),
        *summary.metadata.items(),
        *(("note", note) for note in summary.notes),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {_printable(value)}" for name, value in rows]


def _printable(value: str) -> str:
    # Metadata may contain anything, including a terminal's escape sequences.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)


def _norm(recognised: Recognized, component: str) -> float:
    """Return the norm of all changes to the weights of a component.

    Of a DoRA without base weights to compare with, the norm of the product of its factors is used.
    """
    adapter, base, total = recognised.adapter, recognised.base, 0.0
    for path in (path for path in adapter.paths if path.startswith(f"{component}.")):
        layer = adapter.layers.get(path)
        if path not in adapter.changes and layer is not None and (layer.magnitude is None or base.weights is None):
            total += norm(layer) ** 2
        elif (change := dense_delta_weight(adapter, path, base)) is not None:
            total += float(change.norm()) ** 2
    return float(f"{total**0.5:.6g}")


def _count(values: list[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _layout(header: Header, components: Sequence[str]) -> str:
    names = list(header.shapes)
    if any(name.startswith("lycoris_") for name in names):
        return "LyCORIS"
    if any(name.startswith("lora_") for name in names):
        is_original = any("input_blocks" in name or "output_blocks" in name or "middle_block" in name for name in names)
        return "kohya" if is_original else "kohya (diffusers block names)"
    if any(name.startswith(("diffusion_model.", "text_encoders.")) for name in names):
        return "ComfyUI"
    return "diffusers" if any(name.partition(".")[0] in components for name in names) else "PEFT"
