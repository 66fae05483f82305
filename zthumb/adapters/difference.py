"""How far two adapters are apart, in what they change and not in how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zthumb.adapters.adapter import Adapter, Layer


@dataclass(frozen=True)
class ModuleDifference:
    """One module in both adapters: norms of both changes, of their difference, and the cosine between them, -1 … 1."""

    first: float
    second: float
    apart: float
    cosine: float


@dataclass(frozen=True)
class Difference:
    """What two adapters have in common and what not. ``apart`` is relative to the first's norm, over all modules."""

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    both: dict[str, ModuleDifference]
    apart: float
    cosine: float

    @property
    def is_none(self) -> bool:
        """Whether both change the model alike, to rounding."""
        return not self.only_first and not self.only_second and self.apart < 1e-5


def difference(first: Adapter, second: Adapter) -> Difference:
    """Compare module by module, and over all modules, those in one adapter alone included."""
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
        both={path: _compared(*found) for path, found in squares.items()},
        apart=whole.apart / whole.first if whole.first else math.inf if whole.apart else 0.0,
        cosine=whole.cosine,
    )


def norm(layer: Layer) -> float:
    """The Frobenius norm of a layer's change."""
    return math.sqrt(max(0.0, _inner(layer, layer)))


def _compared(first: float, second: float, inner: float) -> ModuleDifference:
    one, other = math.sqrt(max(0.0, first)), math.sqrt(max(0.0, second))
    return ModuleDifference(
        first=one,
        second=other,
        apart=math.sqrt(max(0.0, first + second - 2 * inner)),
        cosine=max(-1.0, min(1.0, inner / (one * other))) if one * other else 0.0,
    )


def _squares(first: Layer, second: Layer) -> tuple[float, float, float]:
    return _inner(first, first), _inner(second, second), _inner(first, second)


def _inner(first: Layer, second: Layer) -> float:
    """The Frobenius inner product of two changes, without making either: tr(D₁ᵀU₁ᵀU₂D₂) = sum(U₁ᵀU₂ ∘ D₁D₂ᵀ)."""
    (up, down), (other_up, other_down) = first.factors, second.factors
    products = (up.double().T @ other_up.double()) * (down.double() @ other_down.double().T)
    return float(products.sum())
