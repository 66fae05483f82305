"""A LoRA in memory, independent of the file layout it was read from or will be written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zthumb.adapters.change import Change
    from zthumb.adapters.textual_inversion import LearnedEmbedding

_DOWN, _UP, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"


@dataclass(frozen=True)
class Layer:
    """The LoRA of one module: ``down`` (rank, in, …) and ``up`` (out, rank, …), whose product is multiplied by ``scale``.

    For a convolution, ``down`` has the module's kernel size and ``up`` has 1 × 1. DoRA (arXiv 2402.09353) adds ``magnitude``
    (out,), the norms of the rows of the adapted weight.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    magnitude: Tensor | None = None
    has_base_subtracted: bool = False
    """Whether a part of the base's own weight is subtracted in it, so that the net change may be zero (PiSSA, OLoRA)."""

    @property
    def rank(self) -> int:
        """Return the rank of the factors, which bounds the rank of the weight change."""
        return int(self.down.shape[0])

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Return float32 matrices (out, rank) and (rank, in · kernel) whose product is the change; the first holds the scale."""
        return self.up.float().flatten(1) * self.scale, self.down.float().flatten(1)

    def change(self) -> Tensor:
        """Return what is added to the module's weight, in its shape, float32, without the effect of a ``magnitude``."""
        up, down = self.factors
        return (up @ down).reshape(self.up.shape[0], *self.down.shape[1:])

    def fold_scale(self) -> Layer:
        """Return the same change with the scale multiplied into ``up`` and a ``scale`` of 1."""
        return replace(self, up=self.up * self.scale, scale=1.0)

    def to(self, dtype: torch.dtype) -> Layer:
        """Return the layer in another precision."""
        magnitude = None if self.magnitude is None else self.magnitude.to(dtype)
        return replace(self, down=self.down.to(dtype), up=self.up.to(dtype), magnitude=magnitude)

    def with_factors(self, up: Tensor, down: Tensor) -> Layer:
        """Return a layer for the same module made from matrices (out, rank) and (rank, in · kernel)."""
        ones = (1,) * (self.up.dim() - 2)
        return Layer(down.reshape(-1, *self.down.shape[1:]), up.reshape(*up.shape, *ones), magnitude=self.magnitude)


@dataclass(frozen=True)
class Adapter:
    """Layers by module path; a path begins with the pipeline component: ``unet.``, ``text_encoder_2.`` …

    ``embeddings`` are learned and read by the text encoders. ``changes`` are the weight changes of every other kind, also by
    module path; a module may have both a layer and a change. ``notes`` say which contents of the file were skipped, one sentence
    each.
    """

    layers: Mapping[str, Layer]
    embeddings: tuple[LearnedEmbedding, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def from_peft(
        cls, weights: Mapping[str, Tensor], scale: float, learned_embeddings: tuple[LearnedEmbedding, ...] = ()
    ) -> Adapter:
        """Build an adapter from PEFT's keys, ``<path>.lora_A.weight`` and so on, with one scale for all; ignore other keys."""
        paths = sorted(name.removesuffix(_DOWN) for name in weights if name.endswith(_DOWN))
        return cls(
            {
                path: Layer(weights[path + _DOWN], weights[path + _UP], scale, _flatten(weights.get(path + _MAGNITUDE)))
                for path in paths
            },
            learned_embeddings,
        )

    def to_peft(self) -> dict[str, Tensor]:
        """Return the layers by PEFT's keys, with the scales folded into the weights."""
        weights = {}
        for path, layer in sorted(self.layers.items()):
            weights[path + _DOWN] = layer.down.contiguous()
            weights[path + _UP] = layer.fold_scale().up.contiguous()
            if layer.magnitude is not None:
                # PEFT stores the magnitudes of a convolution along the second of four axes.
                shape = (1, -1, 1, 1) if layer.down.dim() == 4 else (-1,)
                weights[path + _MAGNITUDE] = layer.magnitude.reshape(shape).contiguous()
        return weights

    @property
    def parts(self) -> list[str]:
        """Return the pipeline components that the adapter changes, sorted."""
        return sorted({path.split(".")[0] for path in self.paths})

    @property
    def paths(self) -> list[str]:
        """Return the paths of the modules that the adapter changes, sorted."""
        return sorted({*self.layers, *self.changes})

    @property
    def kinds(self) -> list[str]:
        """Return the kinds it consists of, for people: LoRA, DoRA and the titles of other kinds."""
        titles = {"DoRA" if layer.magnitude is not None else "LoRA" for layer in self.layers.values()}
        titles |= {("DoRA of " if change.magnitude is not None else "") + change.kind.title for change in self.changes.values()}
        return sorted(titles)

    def changes_of(self, component: str) -> dict[str, Change]:
        """Return the changes of one component by the module path inside it."""
        return {
            path.removeprefix(f"{component}."): change
            for path, change in self.changes.items()
            if path.startswith(f"{component}.")
        }

    def of(self, component: str) -> dict[str, Layer]:
        """Return the layers of one component by the module path inside it."""
        return {
            path.removeprefix(f"{component}."): layer for path, layer in self.layers.items() if path.startswith(f"{component}.")
        }

    @property
    def has_magnitudes(self) -> bool:
        """Return whether any of its layers has DoRA magnitudes."""
        return any(layer.magnitude is not None for layer in self.layers.values())


def _flatten(magnitude: Tensor | None) -> Tensor | None:
    return None if magnitude is None else magnitude.flatten()
