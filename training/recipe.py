"""Recipes: everything a run depends on besides the images, in one YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from foundation.config import Strict, explain, read_yaml
from foundation.errors import BadInput
from foundation.plugins import suggestion
from training.other_names import key_for

FOLDER = Path(__file__).parent / "recipes"

_KEPT_OR_SHOWN = ("trackers", "previews", "keep_checkpoints", "checkpoint_every")
_CARRIED_OUT = ("gradient_checkpointing", "compile", "shard", "deterministic")

_OTHER_LENGTH = {"steps": "epochs", "epochs": "steps"}
"""A length in one takes the place of a length in the other, of the recipe it extends."""

_Beta = Annotated[float, Field(ge=0, lt=1)]


class AdapterRecipe(Strict):
    """The LoRA: weights of ``rank``, scaled by ``alpha`` / ``rank``, on the modules of a named target set.

    ``use_rslora`` scales by ``alpha`` / √``rank`` instead (rsLoRA, arXiv 2312.03732), which lets high ranks learn as fast as
    low ones. ``use_dora`` learns the norm of each output's weights apart from their direction (DoRA, arXiv 2402.09353).
    With an ``ema_decay`` above zero it is the exponential moving average of the trained weights with that decay. With
    ``text_encoders`` the prompt's readers are adapted too. The weights start at random and zero (``kaiming``), or with the base's
    own largest components (``pissa``, arXiv 2404.02948), which learns faster, takes no weight decay, since that would unlearn the
    base, and is exported at twice the rank.

    With ``from``, any reference to an adapter of any layout, the weights begin as that adapter's.

    With ``tokens`` above zero the trigger word is read as so many new tokens, which are learned beside the adapter (textual
    inversion, arXiv 2208.01618, then called pivotal tuning). They begin as what the base reads the word as, and are exported in a
    file of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, validate_by_name=True, validate_by_alias=True)

    rank: int = Field(default=16, ge=1, le=256)
    alpha: float = Field(default=16, gt=0)
    targets: Literal["attention", "attention+feed-forward", "attention+feed-forward+convolution"] = "attention"
    use_rslora: bool = False
    use_dora: bool = False
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    text_encoders: bool = False
    initialization: Literal["kaiming", "pissa"] = "kaiming"
    begin_from: str | None = Field(default=None, alias="from")
    tokens: int = Field(default=0, ge=0, le=32)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.use_dora and self.initialization == "pissa":
            raise ValueError("use_dora and initialization: pissa cannot be had together")
        if self.begin_from is not None and (self.use_dora or self.initialization == "pissa"):
            raise ValueError("from begins with another adapter's weights: neither use_dora nor initialization: pissa go with it")
        return self

    @property
    def scale(self) -> float:
        """What the product of both weights is multiplied by."""
        return float(self.alpha / (self.rank**0.5 if self.use_rslora else self.rank))


class OptimizerRecipe(Strict):
    """What moves the weights: AdamW, AdamW with a state of 8 bits, Prodigy (with an ``lr`` of 1 it finds its own) or Adafactor.

    The rate rises to ``lr`` over ``warmup_steps`` and then follows ``schedule`` to the run's end. ``text_encoder_lr`` is another one
    for adapted text encoders, and ``token_lr`` for the trigger word's new tokens. Gradients are clipped to ``max_grad_norm``.
    """

    name: Literal["adamw", "adamw_8bit", "prodigy", "adafactor"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    text_encoder_lr: float | None = Field(default=None, gt=0)
    token_lr: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[_Beta, _Beta] = (0.9, 0.99)
    warmup_steps: int = Field(default=20, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name in ("text_encoder_lr", "token_lr"):
            if self.name == "prodigy" and getattr(self, name) is not None:
                raise ValueError(f"prodigy finds one rate for all weights: leave {name} out")
        return self


class ObjectiveRecipe(Strict):
    """What is learned at which noise.

    ``prediction`` is what the denoiser predicts, by default what the base's own configuration says. Losses are weighted by
    min-SNR with ``min_snr_gamma``, or equally without one. ``noise_offset`` shifts the noise of each channel as a whole, which
    lets a model generate darker and brighter images. ``caption_dropout`` is the share of captions left out. Timesteps are drawn
    evenly, or logit-normally around the middle with ``timestep_mean`` and ``timestep_deviation``.
    """

    prediction: Literal["base", "epsilon", "v_prediction"] = "base"
    min_snr_gamma: float | None = Field(default=5.0, gt=0)
    noise_offset: float = Field(default=0.0, ge=0, le=1)
    caption_dropout: float = Field(default=0.05, ge=0, lt=1)
    timesteps: Literal["uniform", "logit_normal"] = "uniform"
    timestep_mean: float = 0.0
    timestep_deviation: float = Field(default=1.0, gt=0)


class DataRecipe(Strict):
    """How images are fitted and which are held out.

    ``holdout`` is the share of the images that is never trained on. With ``buckets`` an image takes the size of about
    ``resolution`` × ``resolution`` pixels whose shape is nearest to its own, without it becomes a square. What is cut off to fit
    lies at the ends (``crop: middle``), or where a saliency measure finds least (``crop: smart``).
    """

    holdout: float = Field(default=0.1, ge=0, le=0.5)
    buckets: bool = True
    crop: Literal["middle", "smart"] = "middle"


class PriorRecipe(Strict):
    """Prior preservation: images on which the adapted model must go on predicting what the base predicts.

    They are generated by the base for ``prompts``, ``images`` in all, beside those of the data set's regularization folder.
    ``weight`` is relative to the concept's loss; 0 turns it off.
    """

    weight: float = Field(default=1.0, ge=0)
    images: int = Field(default=48, ge=1)
    batch_size: int = Field(default=4, ge=1)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0)
    prompts: tuple[str, ...] = ()


class ValidationRecipe(Strict):
    """How held-out images are looked at, with every checkpoint, and what follows from it.

    The loss is measured at the middle of each of ``strata`` parts of the timesteps, with ``noises`` noises each. ``choose`` says
    which checkpoint is exported: the one whose held-out loss is lowest, or the last. After ``patience`` looks without a new
    lowest the training stops; without it, never.
    """

    strata: int = Field(default=8, ge=1, le=100)
    noises: int = Field(default=4, ge=1)
    choose: Literal["lowest", "last"] = "lowest"
    patience: int | None = Field(default=None, ge=1)


class PreviewRecipe(Strict):
    """Images generated with every checkpoint; ``{trigger}`` in ``prompts`` stands for the trigger word. None without prompts.

    Larger ones than ``tile`` pixels are decoded in overlapping tiles of that edge: less memory, colours shifted a little.
    """

    prompts: tuple[str, ...] = ()
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0)
    tile: int | None = Field(default=None, ge=64, multiple_of=8)


class Recipe(Strict):
    """One run: base, resolution, length and seed, and a section for each part of the way.

    ``base`` and ``vae``, an autoencoder in place of the base's own, are whatever names a model (``zthumb.sources.reference``).
    The length is ``steps``, or ``epochs``, which the number of images turns into steps.
    A step learns from ``batch_size`` images at a time, ``gradient_accumulation_steps`` times, in each process. ``trackers`` are
    names that accelerate knows, as tensorboard, wandb or trackio; ``metrics.jsonl`` is always written. ``gradient_checkpointing``
    computes the forward pass again in the backward one instead of keeping it: less memory, a third more time. ``compile`` compiles
    the repeated blocks of the denoiser, which takes a while once and makes each step faster. ``quantize`` keeps the denoiser's
    linear weights in 8 bits or 4 (QLoRA, arXiv 2305.14314). With ``precision: fp16`` gradients are scaled so that small ones are
    not lost; a step whose scaled gradients overflow is left out and the scale is halved, which ``metrics.jsonl`` tells. ``shard``
    divides the denoiser's frozen weights among processes (FSDP, arXiv 2304.11277). ``deterministic`` asks a GPU for the same bytes
    each time, as a CPU gives them anyway; ``portable`` asks a CPU for the same bytes on every x86-64 with AVX2 and takes longer.
    """

    base: str
    vae: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    resolution: int = Field(ge=64, le=2048, multiple_of=8)
    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    quantize: Literal["none", "int8", "nf4"] = "none"
    shard: bool = False
    deterministic: bool = False
    portable: bool = False
    data: DataRecipe = DataRecipe()
    checkpoint_every: int = Field(default=100, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    gradient_checkpointing: bool = False
    compile: bool = False
    trackers: tuple[str, ...] = ()
    adapter: AdapterRecipe = AdapterRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    prior: PriorRecipe = PriorRecipe()
    validation: ValidationRecipe = ValidationRecipe()
    previews: PreviewRecipe = PreviewRecipe()

    def counted_in_steps(self, per_epoch: int) -> "Recipe":
        """The recipe with its length in steps, of which an epoch has so many."""
        if self.epochs is None:
            return self
        return self.model_copy(update={"steps": self.epochs * per_epoch, "epochs": None})

    def resume_key(self, processes: int) -> dict[str, Any]:
        """The values that decide what ``processes`` learn together, to rounding.

        A run goes on from a checkpoint where these are the same, whatever is kept and shown on the way and however its steps are
        carried out.
        """
        values = self.model_dump(
            mode="json", by_alias=True, exclude={*_KEPT_OR_SHOWN, *_CARRIED_OUT, "batch_size", "gradient_accumulation_steps"}
        )
        if self.optimizer.schedule == "constant":
            # Every step is the same however many follow: more of them go on from the last.
            del values["steps"]
        # Looks at other noise cannot be compared; which of them is chosen is decided at the end.
        values["validation"] = {"strata": self.validation.strata, "noises": self.validation.noises}
        values["prior"] = {**values["prior"], "batch_size": self.prior.batch_size * self.gradient_accumulation_steps * processes}
        return {**values, "images_per_step": self.batch_size * self.gradient_accumulation_steps * processes}

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.optimizer.text_encoder_lr is not None and not self.adapter.text_encoders:
            raise ValueError("optimizer.text_encoder_lr is for text encoders that are adapted: set adapter.text_encoders=true")
        if self.optimizer.token_lr is not None and not self.adapter.tokens:
            raise ValueError("optimizer.token_lr is for new tokens of the trigger word: set adapter.tokens to how many")
        if self.quantize != "none" and self.adapter.initialization == "pissa":
            raise ValueError("initialization: pissa starts from weights that quantize does not keep")
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and epochs both give the length: take one")
        if self.quantize != "none" and self.shard:
            raise ValueError("quantized weights cannot be divided: take quantize or shard")
        return self


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, given by its name or as a path, and override values by ``key.key=value``."""
    values, path = _resolved(_path(name), seen=())
    asked: dict[str, Any] = {}
    for override in overrides:
        _override(asked, override)
    values = _without_other_length(values, asked)
    for override in overrides:
        _override(values, override)
    return _parsed(values, str(path), overrides)


def _parsed(values: dict[str, Any], path: str, overrides: Sequence[str]) -> Recipe:
    """Check the values; ``BadInput`` names the override that is at fault, or else the file."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        told = []
        for fault, line in zip(error.errors(include_url=False), explain(Recipe, error), strict=True):
            key = ".".join(map(str, fault["loc"]))
            where = next((f"--set {each}" for each in reversed(overrides) if _concerns(each, key)), path)
            told.append(f"{where}: {_with_other_name(line, key) if fault['type'] == 'extra_forbidden' else line}")
        raise BadInput("\n".join(told)) from None


def _concerns(override: str, key: str) -> bool:
    """Whether a fault of ``key`` is one of what ``override`` has set."""
    own = override.partition("=")[0].strip()
    return bool(own) and (key == own or key.startswith(f"{own}.") or own.startswith(f"{key}."))


def _with_other_name(line: str, key: str) -> str:
    """The same line with the key that is meant, where another trainer's name of it was given."""
    meant = key_for(key)
    return line if meant is None else f"unknown key {key!r}. Did you mean {meant!r}?"


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
    merged = _without_other_length(below, above)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _without_other_length(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in below.items() if above.get(_OTHER_LENGTH.get(key, "")) is None}


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
