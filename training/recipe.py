"""Recipes: everything that a run depends on except the images, in one YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from foundation.config import Strict, explain, read_yaml
from foundation.errors import BadInput
from foundation.plugins import suggestion
from training.other_names import key_for
from zthumb.memory import budget

FOLDER = Path(__file__).parent / "recipes"

_OUTPUT_KEYS = ("trackers", "previews", "keep_checkpoints", "checkpoint_every")
_EXECUTION_KEYS = (
    "device",
    "memory",
    "gradient_checkpointing",
    "blocks_to_swap",
    "text_encoders_on_cpu",
    "compile",
    "shard",
    "deterministic",
)

_OTHER_LENGTH = {"steps": "epochs", "epochs": "steps"}
"""A length in one unit replaces a length in the other unit that the parent recipe gives."""

_Beta = Annotated[float, Field(ge=0, lt=1)]


class AdapterRecipe(Strict):
    """The LoRA: weights of ``rank``, scaled by ``alpha`` / ``rank``, on the modules of a named target set.

    ``use_rslora`` scales by ``alpha`` / √``rank`` instead (rsLoRA, arXiv 2312.03732), which lets high ranks learn as fast as
    low ones. ``use_dora`` learns the norm of each output's weights separately from their direction (DoRA, arXiv 2402.09353).
    With an ``ema_decay`` above zero, the adapter is the exponential moving average of the trained weights with that decay. With
    ``text_encoders``, the text encoders are adapted too. ``initialization`` is random for A and zero for B (``kaiming``), or the
    largest components of the base's weights (``pissa``, arXiv 2404.02948). PiSSA learns faster, is not subject to weight decay,
    because that would unlearn the base, and is exported at twice the rank.

    ``from`` is any reference to an adapter in any layout: training starts with its weights.

    With ``tokens`` above zero, the trigger word is replaced by that many new tokens, which are learned along with the adapter
    (textual inversion, arXiv 2208.01618; together called pivotal tuning). They are initialized from the base's embedding of the
    word, and are exported in a file of their own.
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
    init_from: str | None = Field(default=None, alias="from")
    tokens: int = Field(default=0, ge=0, le=32)

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.use_dora and self.initialization == "pissa":
            raise ValueError("use_dora and initialization: pissa cannot be combined")
        if self.init_from is not None and (self.use_dora or self.initialization == "pissa"):
            raise ValueError("from starts with another adapter's weights: remove use_dora and initialization: pissa")
        return self

    @property
    def scale(self) -> float:
        """The factor on the product of B and A."""
        return float(self.alpha / (self.rank**0.5 if self.use_rslora else self.rank))


class OptimizerRecipe(Strict):
    """The optimizer: AdamW, AdamW with 8-bit state, Prodigy (set ``lr`` to 1: it adapts the rate itself) or Adafactor.

    The learning rate rises to ``lr`` over ``warmup_steps`` and then follows ``schedule`` until the end of the run. Adapted text
    encoders may have their own ``text_encoder_lr``, and the trigger word's new tokens their own ``token_lr``. Gradients are
    clipped to ``max_grad_norm``.
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
    def _check_combination(self) -> Self:
        for name in ("text_encoder_lr", "token_lr"):
            if self.name == "prodigy" and getattr(self, name) is not None:
                raise ValueError(f"prodigy adapts one rate for all weights: remove {name}")
        return self


class ObjectiveRecipe(Strict):
    """The training objective: prediction type, loss weights, noise and timesteps.

    ``prediction`` is what the denoiser predicts; the default is what the base's scheduler configuration says. Losses are weighted
    by min-SNR with ``min_snr_gamma``, or equally if it is null. ``noise_offset`` adds a constant to the noise of each channel,
    which lets a model generate darker and brighter images. ``caption_dropout`` is the fraction of images that are trained
    without their caption. Timesteps are drawn uniformly, or logit-normally around the middle with ``timestep_mean`` and
    ``timestep_deviation``. For bases of flow matching, which know no min-SNR, ``timestep_shift`` moves them towards noise: by a
    factor, or by that with which the base's scheduler divides the way for images of a size (``resolution``). ``guidance_scale``
    is what a denoiser is told that was distilled to follow a guidance scale; at 1 it learns images as they are.
    """

    prediction: Literal["base", "epsilon", "v_prediction"] = "base"
    min_snr_gamma: float | None = Field(default=None, gt=0)
    noise_offset: float = Field(default=0.0, ge=0, le=1)
    caption_dropout: float = Field(default=0.05, ge=0, lt=1)
    timesteps: Literal["uniform", "logit_normal"] = "uniform"
    timestep_mean: float = 0.0
    timestep_deviation: float = Field(default=1.0, gt=0)
    timestep_shift: Annotated[float, Field(gt=0)] | Literal["resolution"] = 1.0
    guidance_scale: float = Field(default=1.0, ge=0)


class DataRecipe(Strict):
    """How images are fitted, and how many are held out.

    ``holdout`` is the fraction of the images that is never trained on. With ``buckets``, an image gets the size of about
    ``resolution`` × ``resolution`` pixels whose aspect ratio is nearest to its own; without, it becomes a square. The image is
    cropped to its middle (``crop: middle``), or to where a saliency measure is highest (``crop: smart``).
    """

    holdout: float = Field(default=0.1, ge=0, le=0.5)
    buckets: bool = True
    crop: Literal["middle", "smart"] = "middle"


class PriorRecipe(Strict):
    """Prior preservation: images on which the adapted model must still predict what the base predicts.

    The base generates ``images`` of them in total for ``prompts``, in addition to those in the data set's regularization folder.
    ``weight`` is relative to the concept's loss; 0 turns prior preservation off.
    """

    weight: float = Field(default=1.0, ge=0)
    images: int = Field(default=48, ge=1)
    batch_size: int = Field(default=4, ge=1)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0)
    prompts: tuple[str, ...] = ()


class ValidationRecipe(Strict):
    """Validation on the held-out images with every checkpoint, the choice of the checkpoint, and early stopping.

    The loss is measured at the middle of each of ``strata`` equal ranges of timesteps, with ``noises`` noise samples each.
    ``choose`` says which checkpoint is exported: the one with the lowest held-out loss, or the last. Training stops after
    ``patience`` validations without a new lowest loss, or never if it is null.
    """

    strata: int = Field(default=8, ge=1, le=100)
    noises: int = Field(default=4, ge=1)
    choose: Literal["lowest", "last"] = "lowest"
    patience: int | None = Field(default=None, ge=1)


class PreviewRecipe(Strict):
    """Images generated with every checkpoint, one per prompt; ``{trigger}`` in ``prompts`` is replaced by the trigger word.

    Images larger than ``tile`` pixels are decoded in overlapping tiles of that side: less memory, colours shifted a little.
    """

    prompts: tuple[str, ...] = ()
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0)
    tile: int | None = Field(default=None, ge=64, multiple_of=8)


class Recipe(Strict):
    """One run: base, resolution, length and seed, and a section for each part of the training.

    ``base`` and ``vae``, an autoencoder that replaces the base's own, are any reference to a model
    (``zthumb.sources.reference``). The length is ``steps``, or ``epochs``, which are converted to steps by the number of
    images. A step trains on ``batch_size`` images at a time, ``gradient_accumulation_steps`` times, in each process.
    ``device`` is as for ``foundation.device.choose_device``.
    ``trackers`` are names that accelerate knows, such as tensorboard, wandb or trackio; ``metrics.jsonl`` is always written.
    ``memory`` (auto, or as in 12GB) sets what saves memory and changes no result, as far as the estimate asks for it.
    ``gradient_checkpointing`` recomputes the activations in the backward pass instead of saving them: less memory, a third more
    time. With it, so many ``blocks_to_swap`` of the denoiser wait in main memory but for the moments in which they compute.
    ``text_encoders_on_cpu`` encodes captions where the main memory is, for cards that do not hold the text encoders;
    captions are encoded once. ``compile`` compiles the repeated blocks of the denoiser, which takes a while once and makes each
    step faster. ``training_adapter`` is a reference to an adapter that is merged into the frozen base while it is trained on, and
    is in nothing that comes out: one that undoes a distillation to few steps, which training would break.
    ``quantize`` stores the denoiser's linear weights in 8 or 4 bits (QLoRA, arXiv 2305.14314). With ``precision: fp16``, the
    loss is scaled so that small gradients do not underflow; a step whose scaled gradients overflow is skipped and the scale is
    halved, which ``metrics.jsonl`` records. ``shard`` divides the denoiser's frozen weights among processes (FSDP, arXiv
    2304.11277). ``deterministic`` makes a GPU give the same bytes each time, as a CPU does anyway; ``portable`` makes a CPU
    give the same bytes on every x86-64 with AVX2, and takes longer.
    """

    base: str
    vae: str | None = None
    epochs: int | None = Field(default=None, ge=1)
    resolution: int = Field(ge=64, le=2048, multiple_of=8)
    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    device: str = "auto"
    memory: Annotated[str, AfterValidator(budget.check)] | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    quantize: Literal["none", "int8", "nf4"] = "none"
    shard: bool = False
    deterministic: bool = False
    portable: bool = False
    data: DataRecipe = DataRecipe()
    checkpoint_every: int = Field(default=100, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    gradient_checkpointing: bool = False
    blocks_to_swap: int = Field(default=0, ge=0)
    text_encoders_on_cpu: bool = False
    training_adapter: str | None = None
    compile: bool = False
    trackers: tuple[str, ...] = ()
    adapter: AdapterRecipe = AdapterRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    prior: PriorRecipe = PriorRecipe()
    validation: ValidationRecipe = ValidationRecipe()
    previews: PreviewRecipe = PreviewRecipe()

    def with_epochs_as_steps(self, steps_per_epoch: int) -> "Recipe":
        """Return the recipe with its epochs converted to steps."""
        if self.epochs is None:
            return self
        return self.model_copy(update={"steps": self.epochs * steps_per_epoch, "epochs": None})

    def resume_key(self, processes: int) -> dict[str, Any]:
        """Return the values that determine the trained weights, up to rounding, for a run with this many ``processes``.

        A run resumes from a checkpoint with the same values. Values that only change what is saved and shown, or how a step is
        executed, are not among them.
        """
        values = self.model_dump(
            mode="json", by_alias=True, exclude={*_OUTPUT_KEYS, *_EXECUTION_KEYS, "batch_size", "gradient_accumulation_steps"}
        )
        if self.optimizer.schedule == "constant":
            # A step does not depend on how many follow, so a longer run resumes from the last step of a shorter one.
            del values["steps"]
        # Validations with other noise are not comparable; which checkpoint is chosen is only decided at the end of the run.
        values["validation"] = {"strata": self.validation.strata, "noises": self.validation.noises}
        values["prior"] = {**values["prior"], "batch_size": self.prior.batch_size * self.gradient_accumulation_steps * processes}
        return {**values, "images_per_step": self.batch_size * self.gradient_accumulation_steps * processes}

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.optimizer.text_encoder_lr is not None and not self.adapter.text_encoders:
            raise ValueError("optimizer.text_encoder_lr only applies to adapted text encoders: set adapter.text_encoders=true")
        if self.optimizer.token_lr is not None and not self.adapter.tokens:
            raise ValueError("optimizer.token_lr only applies to new tokens of the trigger word: set adapter.tokens")
        if self.quantize != "none" and self.adapter.initialization == "pissa":
            raise ValueError("initialization: pissa starts from weights that quantize does not keep: use one of the two")
        if self.blocks_to_swap and not self.gradient_checkpointing:
            raise ValueError("blocks_to_swap frees nothing until the backward pass without gradient_checkpointing: set both")
        if self.blocks_to_swap and self.quantize == "int8":
            raise ValueError("blocks_to_swap: bitsandbytes keeps weights in int8 on the device: use quantize none or nf4")
        if self.blocks_to_swap and (self.compile or self.shard):
            raise ValueError("blocks_to_swap: weights that move are not compiled for or sharded: leave out compile and shard")
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and epochs both set the length: use one of the two")
        if self.quantize != "none" and self.shard:
            raise ValueError("quantized weights cannot be sharded: use quantize or shard")
        return self


def names() -> list[str]:
    """Return the names of the recipes that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name or path, override values by ``key.key=value``, and check it; raises ``BadInput``."""
    values, path = _read_with_parents(_recipe_path(name), children=())
    overridden: dict[str, Any] = {}
    for override in overrides:
        _apply_override(overridden, override)
    values = _without_other_length(values, overridden)
    for override in overrides:
        _apply_override(values, override)
    return _parse_recipe(values, str(path), overrides)


def _parse_recipe(values: dict[str, Any], path: str, overrides: Sequence[str]) -> Recipe:
    """Check the values; raises ``BadInput`` that names the wrong override, or else the file."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        lines = []
        for fault, line in zip(error.errors(include_url=False), explain(Recipe, error), strict=True):
            key = ".".join(map(str, fault["loc"]))
            source = next((f"--set {override}" for override in reversed(overrides) if _sets(override, key)), path)
            lines.append(f"{source}: {_suggest_key(line, key) if fault['type'] == 'extra_forbidden' else line}")
        raise BadInput("\n".join(lines)) from None


def _sets(override: str, key: str) -> bool:
    """Return whether ``override`` sets ``key``, the section that it is in, or a key below it."""
    overridden = override.partition("=")[0].strip()
    return bool(overridden) and (key == overridden or key.startswith(f"{overridden}.") or overridden.startswith(f"{key}."))


def _suggest_key(line: str, key: str) -> str:
    """Return the error line, with the recipe's key suggested if ``key`` is another trainer's name of it."""
    suggested = key_for(key)
    return line if suggested is None else f"unknown key {key!r}. Did you mean {suggested!r}?"


def _recipe_path(name: str, relative_to: Path = Path()) -> Path:
    """Return the path of a recipe: a name is one that comes with the project, a name with a suffix is a file."""
    if name.endswith((".yaml", ".yml")):
        return relative_to / name
    if name not in names():
        raise BadInput(f"no recipe is called {name!r}. {suggestion(name, names())}")
    return FOLDER / f"{name}.yaml"


def _read_with_parents(path: Path, children: tuple[Path, ...]) -> tuple[dict[str, Any], Path]:
    """Return the recipe's values merged over those of the recipe it extends; ``children`` are the recipes that extend it."""
    path = path.resolve() if path.exists() else path
    if path in children:
        raise BadInput(f"{path}: extends itself through {', '.join(map(str, children))}. Remove one `extends:`.")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: a recipe must be a mapping of keys to values.")
    parent = values.pop("extends", None)
    if parent is None:
        return values, path
    inherited, _ = _read_with_parents(_recipe_path(str(parent), path.parent), (*children, path))
    return _merge(inherited, values), path


def _merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = _without_other_length(parent, child)
    for key, value in child.items():
        is_nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if is_nested else value
    return merged


def _without_other_length(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parent's values without its steps if the child counts in epochs, and without its epochs if in steps."""
    return {key: value for key, value in parent.items() if child.get(_OTHER_LENGTH.get(key, "")) is None}


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadInput(f"--set {override}: write it as key=value, as in --set optimizer.lr=2e-4.")
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise BadInput(f"--set {override}: {part!r} is a value and has no keys in it.")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadInput(f"--set {override}: the value is not valid YAML.") from None
