"""A LoRA in memory, free of the layout it was read from or will be written in."""

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
    """What one module gets: ``down`` (rank, in, …) and ``up`` (out, rank, …), whose product is multiplied by ``scale``.

    For a convolution ``down`` has its kernel and ``up`` one of 1 × 1. DoRA (arXiv 2402.09353) adds ``magnitude`` (out,), the
    norms of the adapted weight's rows.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    magnitude: Tensor | None = None
    is_less_base: bool = False
    """Whether part of the base's own weight is taken out in it, so that what is left may be nothing (PiSSA, OLoRA)."""

    @property
    def rank(self) -> int:
        """How many directions the change of the weight has at most."""
        return int(self.down.shape[0])

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Matrices (out, rank) and (rank, in · kernel), float32, the scale in the first; their product is the change."""
        return self.up.float().flatten(1) * self.scale, self.down.float().flatten(1)

    def change(self) -> Tensor:
        """What is added to the module's weight, of its shape, float32; a ``magnitude`` is not in it."""
        up, down = self.factors
        return (up @ down).reshape(self.up.shape[0], *self.down.shape[1:])

    def folded(self) -> Layer:
        """The same change with a scale of one."""
        return replace(self, up=self.up * self.scale, scale=1.0)

    def to(self, dtype: torch.dtype) -> Layer:
        """The layer in another precision."""
        magnitude = None if self.magnitude is None else self.magnitude.to(dtype)
        return replace(self, down=self.down.to(dtype), up=self.up.to(dtype), magnitude=magnitude)

    def with_factors(self, up: Tensor, down: Tensor) -> Layer:
        """A layer for the same module from matrices (out, rank) and (rank, in · kernel)."""
        ones = (1,) * (self.up.dim() - 2)
        return Layer(down.reshape(-1, *self.down.shape[1:]), up.reshape(*up.shape, *ones), magnitude=self.magnitude)


@dataclass(frozen=True)
class Adapter:
    """Layers by the path of their module, which begins with the part of the pipeline: ``unet.``, ``text_encoder_2.`` …

    ``words`` are those that it teaches the text encoders to read. ``changes`` are of modules as well, of every other kind; one
    module may have both. ``notes`` say what of its file was left out, a sentence each.
    """

    layers: Mapping[str, Layer]
    words: tuple[LearnedEmbedding, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_peft(cls, weights: Mapping[str, Tensor], scale: float, words: tuple[LearnedEmbedding, ...] = ()) -> Adapter:
        """From PEFT's names, ``<path>.lora_A.weight`` and ``<path>.lora_B.weight``, all of one scale; others are left alone."""
        paths = sorted(name.removesuffix(_DOWN) for name in weights if name.endswith(_DOWN))
        return cls(
            {
                path: Layer(weights[path + _DOWN], weights[path + _UP], scale, _flat(weights.get(path + _MAGNITUDE)))
                for path in paths
            },
            words,
        )

    def peft(self) -> dict[str, Tensor]:
        """By PEFT's names, the scales folded into the weights."""
        weights = {}
        for path, layer in sorted(self.layers.items()):
            weights[path + _DOWN] = layer.down.contiguous()
            weights[path + _UP] = layer.folded().up.contiguous()
            if layer.magnitude is not None:
                # PEFT keeps those of a convolution along the second of four axes.
                shape = (1, -1, 1, 1) if layer.down.dim() == 4 else (-1,)
                weights[path + _MAGNITUDE] = layer.magnitude.reshape(shape).contiguous()
        return weights

    @property
    def parts(self) -> list[str]:
        """The parts of the pipeline that it changes, sorted."""
        return sorted({path.split(".")[0] for path in self.paths})

    @property
    def paths(self) -> list[str]:
        """The modules that it changes, sorted."""
        return sorted({*self.layers, *self.changes})

    @property
    def kinds(self) -> list[str]:
        """What it is made of, for people: LoRA, DoRA and the titles of other kinds."""
        found = {"DoRA" if layer.magnitude is not None else "LoRA" for layer in self.layers.values()}
        found |= {("DoRA of " if each.magnitude is not None else "") + each.kind.title for each in self.changes.values()}
        return sorted(found)

    def changes_of(self, part: str) -> dict[str, Change]:
        """The changes of one part by the path inside it."""
        return {path.removeprefix(f"{part}."): each for path, each in self.changes.items() if path.startswith(f"{part}.")}

    def of(self, part: str) -> dict[str, Layer]:
        """The layers of one part by the path inside it."""
        return {path.removeprefix(f"{part}."): layer for path, layer in self.layers.items() if path.startswith(f"{part}.")}

    @property
    def has_magnitudes(self) -> bool:
        """Whether any of its layers is a DoRA's."""
        return any(layer.magnitude is not None for layer in self.layers.values())


def _flat(magnitude: Tensor | None) -> Tensor | None:
    return None if magnitude is None else magnitude.flatten()
