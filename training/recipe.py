"""Recipes: everything a run depends on besides the pictures, in one YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput
from foundation.plugins import suggestion

FOLDER = Path(__file__).parent / "recipes"


class AdapterRecipe(Strict):
    """The LoRA: weights of ``rank``, scaled by ``alpha`` / ``rank``, on the modules of a named target set."""

    rank: int = Field(default=16, ge=1, le=256)
    alpha: float = Field(default=16, gt=0)
    targets: Literal["attention", "attention+feed-forward"] = "attention"


class OptimizerRecipe(Strict):
    """AdamW; the rate rises to ``lr`` over ``warm_up`` steps and then follows ``schedule`` to the run's end."""

    lr: float = Field(default=1e-4, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: int = Field(default=20, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)


class ObjectiveRecipe(Strict):
    """The epsilon loss: min-SNR gamma and the share of captions left out."""

    min_snr_gamma: float = Field(default=5.0, gt=0)
    caption_dropout: float = Field(default=0.05, ge=0, lt=1)


class PriorRecipe(Strict):
    """Prior preservation: pictures of the base for ``prompts``, on which the adapted model must go on predicting what the base
    predicts. ``weight`` is relative to the concept's loss; 0 turns it off.
    """

    weight: float = Field(default=1.0, ge=0)
    images: int = Field(default=48, ge=1)
    batch: int = Field(default=4, ge=1)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0)
    prompts: tuple[str, ...] = ()


class Recipe(Strict):
    """One run: base, resolution, adapter, optimizer, objective, prior, length, seed."""

    base: str
    resolution: int = Field(ge=64, le=2048, multiple_of=8)
    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=4, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = Field(default=100, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    adapter: AdapterRecipe = AdapterRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    prior: PriorRecipe = PriorRecipe()


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, given by its name or as a path, and override values by ``key.key=value``."""
    values, path = _resolved(_path(name), seen=())
    for override in overrides:
        _override(values, override)
    return parse(Recipe, values, str(path))


def _path(name: str, beside: Path = Path()) -> Path:
    """A bare name is a recipe that comes with the project; one with an ending is a file, ``beside`` the one that names it."""
    if name.endswith((".yaml", ".yml")):
        return beside / name
    if name not in names():
        raise BadInput(f"no recipe is called {name!r}. {suggestion(name, names())}")
    return FOLDER / f"{name}.yaml"


def _resolved(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Path]:
    """The recipe's values laid over those of the recipe it extends."""
    path = path.resolve() if path.exists() else path
    if path in seen:
        raise BadInput(f"{path}: extends itself by way of {', '.join(map(str, seen))}.")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: expected keys and values.")
    parent = values.pop("extends", None)
    if parent is None:
        return values, path
    inherited, _ = _resolved(_path(str(parent), path.parent), (*seen, path))
    return _merged(inherited, values), path


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadInput(f"--set {override}: write it as key=value, as in --set optimizer.lr=2e-4.")
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise BadInput(f"--set {override}: {part!r} is a value and has no keys below it.")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadInput(f"--set {override}: the value is not valid YAML.") from None
