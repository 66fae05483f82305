"""Measure how different the changes of two adapters are, whatever factors they are stored as."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundation.errors import BadInput
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.textual_inversion import LearnedEmbedding

_ROUNDING = 1e-5


@dataclass(frozen=True)
class ModuleDifference:
    """One module of both adapters: the norms of the two changes and of their difference (``apart``), and their cosine, -1 … 1.

    ``magnitudes`` is the distance between the DoRA magnitudes of both, relative to the first's; None if only one has magnitudes.
    """

    first: float
    second: float
    apart: float
    cosine: float
    magnitudes: float | None = 0.0


@dataclass(frozen=True)
class Difference:
    """The modules that only one adapter changes, those that both change, and the difference over all modules.

    ``apart`` is relative to the first's norm; None if the first changes nothing and the second something.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    both: dict[str, ModuleDifference]
    apart: float | None
    cosine: float
    same_embeddings: bool = True

    @property
    def is_none(self) -> bool:
        """Return whether both change the model in the same way, up to rounding."""
        relative = [self.apart, *(module.magnitudes for module in self.both.values())]
        is_equal = all(distance is not None and distance < _ROUNDING for distance in relative)
        return not self.only_first and not self.only_second and is_equal and self.same_embeddings


def difference(first: Adapter, second: Adapter) -> Difference:
    """Compare two adapters module by module, and over all modules, including those in only one adapter.

    Raises ``BadInput`` for an adapter that has changes other than layers.
    """
    for adapter in (first, second):
        if adapter.changes:
            kinds = " and ".join(adapter.kinds)
            raise BadInput(
                f"a {kinds} can only be compared as a LoRA: convert it first with `zthumb adapters convert --as lora`."
            )
    shared = [path for path in sorted(first.layers) if path in second.layers]
    squares = {path: _squares(first.layers[path], second.layers[path]) for path in shared}
    only_first = tuple(path for path in sorted(first.layers) if path not in second.layers)
    only_second = tuple(path for path in sorted(second.layers) if path not in first.layers)
    first_square = sum(a for a, _, _ in squares.values()) + sum(
        _inner(first.layers[path], first.layers[path]) for path in only_first
    )
    second_square = sum(b for _, b, _ in squares.values()) + sum(
        _inner(second.layers[path], second.layers[path]) for path in only_second
    )
    overall = _compare(first_square, second_square, sum(ab for _, _, ab in squares.values()))
    return Difference(
        only_first=only_first,
        only_second=only_second,
        both={
            path: replace(_compare(*products), magnitudes=_magnitudes(first.layers[path], second.layers[path]))
            for path, products in squares.items()
        },
        apart=overall.apart / overall.first if overall.first else None if overall.apart else 0.0,
        cosine=overall.cosine,
        same_embeddings=_are_equal(first.embeddings, second.embeddings),
    )


def norm(layer: Layer) -> float:
    """Return the Frobenius norm of a layer's change."""
    return math.sqrt(max(0.0, _inner(layer, layer)))


def _are_equal(first: Sequence[LearnedEmbedding], second: Sequence[LearnedEmbedding]) -> bool:
    """Return whether both have the same texts with the same vectors."""
    first_vectors, second_vectors = (
        {embedding.text: embedding.vectors for embedding in embeddings} for embeddings in (first, second)
    )
    return first_vectors.keys() == second_vectors.keys() and all(
        vectors.shape == second_vectors[text][component].shape and bool((vectors == second_vectors[text][component]).all())
        for text, components in first_vectors.items()
        for component, vectors in components.items()
    )


def _compare(first_square: float, second_square: float, inner: float) -> ModuleDifference:
    first, second = math.sqrt(max(0.0, first_square)), math.sqrt(max(0.0, second_square))
    return ModuleDifference(
        first=first,
        second=second,
        apart=math.sqrt(max(0.0, first_square + second_square - 2 * inner)),
        cosine=max(-1.0, min(1.0, inner / (first * second))) if first * second else 0.0,
    )


def _magnitudes(first: Layer, second: Layer) -> float | None:
    if first.magnitude is None and second.magnitude is None:
        return 0.0
    if first.magnitude is None or second.magnitude is None:
        return None
    return float((first.magnitude - second.magnitude).norm() / first.magnitude.norm().clamp(min=1e-12))


def _squares(first: Layer, second: Layer) -> tuple[float, float, float]:
    return _inner(first, first), _inner(second, second), _inner(first, second)


def _inner(first: Layer, second: Layer) -> float:
    """Return the Frobenius inner product of two changes without computing either: tr(D₁ᵀU₁ᵀU₂D₂) = sum(U₁ᵀU₂ ∘ D₁D₂ᵀ)."""
    (first_up, first_down), (second_up, second_down) = first.factors, second.factors
    products = (first_up.double().T @ second_up.double()) * (first_down.double() @ second_down.double().T)
    return float(products.sum())
