"""Requests and responses of the API. Unknown fields are refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from foundation.verdict import Verdict
from zthumb import backends
from zthumb.diffusion.guidance_schedule import check
from zthumb.diffusion.schedulers import SchedulerName
from zthumb.generation import prompts
from zthumb.server.api import schema_examples
from zthumb.server.settings import MAX_WEIGHT, OutputFormat

MAX_SEED = 2**63 - 1
MAX_BATCH = 16
MAX_LORAS = 8

Seed = Annotated[
    int | None,
    Field(ge=-1, le=MAX_SEED, description="seed of the first image; drawn at random and reported if missing or -1"),
    AfterValidator(lambda seed: None if seed == -1 else seed),
]


class LoraRequest(BaseModel):
    """An adapter and its weight.

    It is named by its id, by its path in the models folder, or by a ref: the hash of its file, or
    any reference to a model, which is downloaded if this server allows that to requests.
    """

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None, max_length=400, description="as GET /models lists it: the path in models/lora, without the file extension"
    )
    path: str | None = Field(default=None, max_length=1000, description="a file or folder inside the models folder")
    ref: str | None = Field(
        default=None,
        max_length=1000,
        description="sha256: followed by at least 8 digits of the file's hash, as in responses; or an AIR, owner/name[:file] on "
        "the hub, an https address, a path",
    )
    weight: float | None = Field(
        default=None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="0 is the base, 1 the adapter as trained"
    )
    trigger: str | None = Field(
        default=None, min_length=1, max_length=200, description="its trigger word; default: the one in its file"
    )
    trigger_weight: float = Field(
        default=0, ge=0, le=2, description="weight of the trigger word, which is prepended to the prompt; 0: it is not prepended"
    )

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if sum(name is not None for name in (self.id, self.path, self.ref)) != 1:
            raise ValueError("name an adapter by exactly one of id, path and ref")
        if self.trigger is not None and not self.trigger_weight:
            raise ValueError("trigger has no effect without a weight: give trigger_weight as well, e.g. 1")
        return self


ScheduleOfGuidance = Annotated[str, Field(max_length=40), AfterValidator(check)] | None


class GenerateRequest(BaseModel):
    """One or several images of one prompt."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prompt": "a photo of a red star on a blue background", "seed": 7},
                {"prompt": "a photo of a red zbadge", "loras": [{"id": "demo", "weight": 0.8}], "scheduler": "dpmpp_2m_karras"},
                {"prompt": "a photo of a red star", "variant": "turbo", "steps": 2},
                {"prompt": "a red star", "preset": "mini"},
                {"prompt": "a photo of a (red:1.3) star BREAK on a blue background", "prompt_parser": "lpw"},
            ]
        },
    )

    prompt: str = Field(max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own size")
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own size")
    seed: Seed = None
    steps: int | None = Field(default=None, ge=1, le=150, description="default: the variant's default")
    cfg: float | None = Field(default=None, ge=0, le=30, description="guidance scale; default: the variant's default")
    true_cfg_scale: float | None = Field(
        default=None,
        ge=1,
        le=30,
        description="scale of classifier-free guidance, away from the negative prompt, for bases that are told cfg itself as "
        "FLUX.1 dev is; it takes twice the time; default: 1, which is none",
    )
    guidance_schedule: ScheduleOfGuidance = Field(
        default=None,
        description="how classifier-free guidance changes on the way from noise to the image: constant, linear, cosine, "
        "low-high-low, or interval:0.2-0.9, the share of the steps that are guided; default: constant",
    )
    embedded_guidance_schedule: ScheduleOfGuidance = Field(
        default=None, description="the same for cfg of bases that are told it, as FLUX.1 dev is; default: constant"
    )
    step_cache: int | None = Field(
        default=None,
        ge=1,
        le=4,
        description="compute one of so many predictions after the first three steps and extrapolate the others: faster, a "
        "little off; default: 1, all are computed",
    )
    scheduler: SchedulerName | None = Field(
        default=None, description="one of those in GET /capabilities; default: the base's own"
    )
    batch: int = Field(default=1, ge=1, le=MAX_BATCH, description="number of images; their seeds count up from the first one's")
    deterministic: bool = Field(
        default=False, description="generate each image by itself, so that it is bit-identical whatever other requests there are"
    )
    isolated: bool = Field(
        default=False,
        description="generate this request's images in a batch of their own: the same request gives bit-identical images",
    )
    variant: str = Field(
        default="auto",
        max_length=40,
        description="how to generate; GET /capabilities lists the variants. auto takes the best one that fits into memory",
        json_schema_extra={"enum": ["auto", *backends.names()]},
    )
    prompt_parser: str | None = Field(
        default=None,
        max_length=40,
        description="syntax of the prompts: plain has none, compel and lpw have weights and more; default: this server's setting",
        json_schema_extra={"enum": [*prompts.names()]},
    )
    output_format: OutputFormat | None = Field(default=None, description="default: this server's setting")
    preset: str | None = Field(
        default=None,
        max_length=100,
        description="the name of a preset; GET /presets lists them. Fields of the request override it",
    )
    response_format: Literal["b64_json", "url", "path"] = Field(
        default="b64_json",
        description="the image itself, or where it is stored: a URL or a path on this server; a job returns URLs only",
    )
    lora_path: str | None = Field(default=None, max_length=1000, description="an adapter inside the models folder")
    lora_scale: float | None = Field(
        default=None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="0 is the base, 1 the adapter as trained"
    )
    loras: list[LoraRequest] | None = Field(
        default=None,
        max_length=MAX_LORAS,
        description="one or more adapters; an empty list means none, not even this server's default adapter",
    )

    @property
    def names_adapters(self) -> bool:
        """Whether its fields, apart from the prompt, say which adapters to use."""
        return any(value is not None for value in (self.loras, self.lora_path, self.lora_scale))

    @model_validator(mode="after")
    def _names_adapters_in_one_way(self) -> Self:
        if self.loras and (self.lora_path is not None or self.lora_scale is not None):
            raise ValueError("name adapters either in loras or by lora_path and lora_scale")
        return self


class GeneratedImage(BaseModel):
    """One image in the requested form, and the seed that reproduces it."""

    seed: int
    b64_json: str | None = None
    url: str | None = Field(default=None, description="on this server")
    path: str | None = Field(default=None, description="on this server's disk")


class AppliedLora(BaseModel):
    """An adapter that the images were generated with."""

    path: str
    weight: float
    sha256: str = Field(
        description="of its file; if other files belong to it, as its learned words, a hash over the hashes of all"
    )
    trigger: str | None = Field(default=None, description="the trigger word that was prepended to the prompt")


class Timings(BaseModel):
    """Seconds spent in the queue, applying adapters, and generating the batch, which may include other requests' images."""

    queue: float
    lora: float
    generate: float


class Meta(BaseModel):
    """How the images were generated. ``batch_size`` is the number of images that were generated at once."""

    backend: str
    variant: str
    base: str = Field(description="the reference to the base model")
    variant_reason: str = Field(description="why this variant was chosen")
    scheduler: str
    steps: int
    cfg: float
    width: int
    height: int
    batch_size: int
    timings: Timings
    peak_memory_mb: float
    loras: list[AppliedLora]
    extrapolated_steps: int = Field(
        default=0, description="steps at which step_cache computes no prediction, unless prompts change"
    )
    unguided_steps: int = Field(
        default=0, description="steps that the guidance schedule leaves unguided; prompts of several parts save nothing there"
    )
    learned_tokens: list[str] = Field(description="words in the adapters' files that have learned embeddings")


class GenerateResponse(BaseModel):
    """The images, how they were generated, and warnings for the user."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.GENERATED))

    images: list[GeneratedImage]
    meta: Meta
    warnings: list[str]


class ModelsResponse(BaseModel):
    """What this server serves. ``lora_loaded`` and ``lora_path`` describe the default adapter, for requests that name none."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.MODELS))

    base: str
    base_sha256: str
    family: str
    backends: list[str]
    resolution: int
    loras: list[str] = Field(description="adapters in the models folder, as lora_path takes them")
    lora_ids: list[str] = Field(description="their ids: the paths in models/lora without the file extension")
    verdicts: dict[str, Verdict] = Field(
        description="evaluation results by adapter path: whether the adapter beats the base, and at which scale to use it"
    )
    lora_loaded: bool
    lora_path: str | None = None
    lora_scale: float
    device: str = Field(description="the type of the torch device that generates: cpu, cuda, xpu or mps")
    precision: str = Field(description="of the denoiser: fp32, bf16 or fp16")


class PresetLoraResponse(BaseModel):
    """An adapter of a preset."""

    ref: str
    weight: float
    triggers: list[str] = Field(description="trigger words that are prepended to the prompt")


class PresetResponse(BaseModel):
    """A preset: named generation settings. Null means the server's default."""

    purpose: str
    base: str | None = None
    vae: str | None = None
    variant: str
    scheduler: str | None = None
    steps: int | None = None
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    prompt: str = Field(description="a template: {prompt} stands for the request's prompt")
    negative_prompt: str | None = None
    prompt_parser: str | None = None
    loras: list[PresetLoraResponse]
    is_here: bool = Field(description="whether its base is on this machine; if not, the first request waits for the download")


class PresetsResponse(BaseModel):
    """The presets by name."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.PRESETS))

    presets: dict[str, PresetResponse]


class BackendCapabilities(BaseModel):
    """The limits and defaults of one variant."""

    base: str
    is_loaded: bool
    steps: tuple[int, int]
    default_steps: int
    cfg: tuple[float, float]
    default_cfg: float


class CapabilitiesResponse(BaseModel):
    """The variants and options of this server, and the limits of a request."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.CAPABILITIES))

    variants: dict[str, BackendCapabilities]
    schedulers: list[str]
    prompt_parsers: list[str]
    output_formats: list[str]
    max_batch: int
    max_loras: int
    size: tuple[int, int] = Field(description="smallest and largest edge in pixels")
    size_multiple: int = Field(description="width and height are multiples of it")


class FindingEntry(BaseModel):
    """What was found on this machine, and what to do about it unless it is fine."""

    level: Literal["ok", "note", "wrong"]
    what: str
    remedy: str


class FindingsResponse(BaseModel):
    """What may keep this server from working; how the base is kept in memory; the versions of packages that make images."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.FINDINGS))

    findings: list[FindingEntry]
    plan: str = Field(
        description="how the base is kept in memory, and what an image is predicted to take; or why it is not there"
    )
    packages: dict[str, str]


class JobImage(BaseModel):
    """An image of a job."""

    id: str
    seed: int
    url: str


class JobResponse(BaseModel):
    """The status of a job. ``position`` is the number of requests ahead of it in the queue; ``progress`` runs from 0 to 1."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.JOB_RUNNING, schema_examples.JOB_DONE))

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int | None = None
    progress: float
    preview: str | None = Field(default=None, description="a small preview of the first image, as a data URL")
    eta_s: float | None = Field(
        default=None, description="estimated seconds until it is done, from how long recent requests took"
    )
    images: list[JobImage]
    meta: Meta | None = None
    warnings: list[str]
    error: str | None = None


class InspectResponse(BaseModel):
    """The generation parameters found inside an image."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.INSPECTED))

    program: str = Field(
        description="the program that wrote the image: zthumb, a1111, comfyui, draw things, fooocus, invokeai or swarmui"
    )
    parameters: dict[str, Any] = Field(
        description="named as the fields of a request; a parameter without such a field keeps the program's name"
    )


class LiveResponse(BaseModel):
    """The process is running."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema({"status": "ok"}))

    status: Literal["ok"]


class ReadyResponse(BaseModel):
    """``ready`` is true once an image was generated; if that failed, ``failed`` is true and ``reason`` says why."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema({"ready": True, "failed": False, "reason": None}))

    ready: bool
    failed: bool
    reason: str | None = None
