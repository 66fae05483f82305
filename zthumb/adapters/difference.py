"""How far two adapters are apart, in what they change and not in how they are written."""

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
    """One module in both adapters: norms of both changes, of their difference, and the cosine between them, -1 … 1.

    ``magnitudes`` is how far a DoRA's norms are apart, relative to the first's; None where one of both has some and the other
    none.
    """

    first: float
    second: float
    apart: float
    cosine: float
    magnitudes: float | None = 0.0


@dataclass(frozen=True)
class Difference:
    """What two adapters have in common and what not.

    ``apart`` is relative to the first's norm, over all modules; None if the first changes nothing and the second something.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    both: dict[str, ModuleDifference]
    apart: float | None
    cosine: float
    same_words: bool = True

    @property
    def is_none(self) -> bool:
        """Whether both change the model alike, to rounding."""
        relative = [self.apart, *(each.magnitudes for each in self.both.values())]
        is_alike = all(each is not None and each < _ROUNDING for each in relative)
        return not self.only_first and not self.only_second and is_alike and self.same_words


def difference(first: Adapter, second: Adapter) -> Difference:
    """Compare module by module, and over all modules, those in one adapter alone included.

    Raises ``BadInput`` for an adapter that is not of layers alone.
    """
    for adapter in (first, second):
        if adapter.changes:
            kinds = " and ".join(adapter.kinds)
            raise BadInput(f"a {kinds} is compared as a LoRA: make one of it first, by `zthumb adapters convert --as lora`.")
    shared = [path for path in sorted(first.layers) if path in second.layers]
    squares = {path: _squares(first.layers[path], second.layers[path]) for path in shared}
    only_first = tuple(path for path in sorted(first.layers) if path not in second.layers)
    only_second = tuple(path for path in sorted(second.layers) if path not in first.layers)
    one = sum(a for a, _, _ in squares.values()) + sum(_inner(first.layers[path], first.layers[path]) for path in only_first)
    other = sum(b for _, b, _ in squares.values()) + sum(_inner(second.layers[path], second.layers[path]) for path in only_second)
    whole = _compared(one, other, sum(ab for _, _, ab in squares.values()))
    return Difference(
        only_first=only_first,
        only_second=only_second,
        both={
            path: replace(_compared(*found), magnitudes=_magnitudes(first.layers[path], second.layers[path]))
            for path, found in squares.items()
        },
        apart=whole.apart / whole.first if whole.first else None if whole.apart else 0.0,
        cosine=whole.cosine,
        same_words=_are_same(first.words, second.words),
    )


def norm(layer: Layer) -> float:
    """The Frobenius norm of a layer's change."""
    return math.sqrt(max(0.0, _inner(layer, layer)))


def _are_same(first: Sequence[LearnedEmbedding], second: Sequence[LearnedEmbedding]) -> bool:
    """Whether the same words are read alike."""
    ours, theirs = ({word.text: word.vectors for word in words} for words in (first, second))
    return ours.keys() == theirs.keys() and all(
        vectors.shape == theirs[text][part].shape and bool((vectors == theirs[text][part]).all())
        for text, parts in ours.items()
        for part, vectors in parts.items()
    )


def _compared(first: float, second: float, inner: float) -> ModuleDifference:
    one, other = math.sqrt(max(0.0, first)), math.sqrt(max(0.0, second))
    return ModuleDifference(
        first=one,
        second=other,
        apart=math.sqrt(max(0.0, first + second - 2 * inner)),
        cosine=max(-1.0, min(1.0, inner / (one * other))) if one * other else 0.0,
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
    """The Frobenius inner product of two changes, without making either: tr(D₁ᵀU₁ᵀU₂D₂) = sum(U₁ᵀU₂ ∘ D₁D₂ᵀ)."""
    (up, down), (other_up, other_down) = first.factors, second.factors
    products = (up.double().T @ other_up.double()) * (down.double() @ other_down.double().T)
    return float(products.sum())
