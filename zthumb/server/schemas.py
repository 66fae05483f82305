"""What the API takes and answers. Unknown fields are refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from foundation.verdict import Verdict
from zthumb import backends, prompts
from zthumb.generation.schedulers import SchedulerName
from zthumb.server import examples
from zthumb.server.settings import MAX_WEIGHT, OutputFormat

MAX_SEED = 2**63 - 1
MAX_BATCH = 16
MAX_LORAS = 8

Seed = Annotated[
    int | None,
    Field(ge=-1, le=MAX_SEED, description="of the first image; drawn and reported if missing or -1"),
    AfterValidator(lambda seed: None if seed == -1 else seed),
]


class LoraRequest(BaseModel):
    """An adapter, and how strongly it counts.

    It is named by its id, by its path in the models folder, or by a ref: the hash of its file, or
    any reference to a model, which is fetched if this server does that for requests.
    """

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None, max_length=400, description="as GET /models lists it: the path in models/lora, without its ending"
    )
    path: str | None = Field(default=None, max_length=1000, description="a file or folder inside the models folder")
    ref: str | None = Field(
        default=None,
        max_length=1000,
        description="sha256: and at least 8 digits of the file's hash, as answers tell it; or an AIR, owner/name[:file] of the "
        "hub, an https address, a path",
    )
    weight: float | None = Field(
        default=None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="0 is the base, 1 the adapter as trained"
    )
    trigger: str | None = Field(
        default=None, min_length=1, max_length=200, description="its trigger word; default: the one that its file tells"
    )
    trigger_weight: float = Field(
        default=0, ge=0, le=2, description="how much of the trigger word is put before the prompt; 0: it is not"
    )

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if sum(name is not None for name in (self.id, self.path, self.ref)) != 1:
            raise ValueError("name an adapter by one of its id, its path and a ref")
        if self.trigger is not None and not self.trigger_weight:
            raise ValueError("a trigger is given and counts nothing: give trigger_weight as well, as 1")
        return self


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
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own")
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own")
    seed: Seed = None
    steps: int | None = Field(default=None, ge=1, le=150, description="default: the variant's own")
    cfg: float | None = Field(default=None, ge=0, le=30, description="guidance scale; default: the variant's own")
    scheduler: SchedulerName | None = Field(default=None, description="default: the base's own")
    batch: int = Field(default=1, ge=1, le=MAX_BATCH, description="number of images; their seeds count up from the first")
    deterministic: bool = Field(
        default=False, description="generate each image alone, so that it is the same to the last bit whatever else is asked for"
    )
    isolated: bool = Field(
        default=False,
        description="generate this request's images at once, but with no other's: the same request is the same to the last bit",
    )
    variant: str = Field(
        default="auto",
        max_length=40,
        description="how to generate; GET /capabilities lists what is here. auto takes the best that there is memory for",
        json_schema_extra={"enum": ["auto", *backends.names()]},
    )
    prompt_parser: str | None = Field(
        default=None,
        max_length=40,
        description="what marks in prompts mean: plain nothing, compel and lpw weights and more; default: this server's",
        json_schema_extra={"enum": [*prompts.names()]},
    )
    output_format: OutputFormat | None = Field(default=None, description="default: this server's")
    preset: str | None = Field(
        default=None,
        max_length=100,
        description="a way to generate by its name; GET /presets lists them. What the request gives itself counts before it",
    )
    response_format: Literal["b64_json", "url", "path"] = Field(
        default="b64_json",
        description="the image itself, or where it is kept: an address or a path of this server; a job tells addresses alone",
    )
    lora_path: str | None = Field(default=None, max_length=1000, description="an adapter inside the models folder")
    lora_scale: float | None = Field(
        default=None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="0 is the base, 1 the adapter as trained"
    )
    loras: list[LoraRequest] | None = Field(
        default=None,
        max_length=MAX_LORAS,
        description="several adapters at once; an empty list is none, not this server's own either",
    )

    @property
    def names_adapters(self) -> bool:
        """Whether its fields say under which adapters to generate."""
        return any(value is not None for value in (self.loras, self.lora_path, self.lora_scale))

    @model_validator(mode="after")
    def _names_adapters_in_one_way(self) -> Self:
        if self.loras and (self.lora_path is not None or self.lora_scale is not None):
            raise ValueError("name adapters either in loras or by lora_path and lora_scale")
        return self


class GeneratedImage(BaseModel):
    """One image, in the form that was asked for, and the seed that makes it again."""

    seed: int
    b64_json: str | None = None
    url: str | None = Field(default=None, description="of this server")
    path: str | None = Field(default=None, description="on this server's disk")


class AppliedLora(BaseModel):
    """An adapter the images were made with."""

    path: str
    weight: float
    sha256: str = Field(description="of its file; where others beside it are read, as its words, one over the hashes of all")
    trigger: str | None = Field(default=None, description="the trigger word that was put before the prompt")


class Timings(BaseModel):
    """Seconds: waiting for others, putting adapters on, generating (with those of other requests it was generated with)."""

    queue: float
    lora: float
    generate: float


class Meta(BaseModel):
    """How the images were made. ``together`` is the number of images that were generated at once."""

    backend: str
    variant: str
    base: str = Field(description="what names the base")
    why: str = Field(description="why this backend")
    scheduler: str
    steps: int
    cfg: float
    width: int
    height: int
    together: int
    timings: Timings
    peak_memory_mb: float
    loras: list[AppliedLora]
    words: list[str] = Field(description="words that the adapters brought, which are read as they learned them")


class GenerateResponse(BaseModel):
    """The images, how they were made, and what the user should know."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.GENERATED))

    images: list[GeneratedImage]
    meta: Meta
    warnings: list[str]


class ModelsResponse(BaseModel):
    """What this server serves. ``lora_loaded`` and ``lora_path`` tell the adapter of requests that name none."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.MODELS))

    base: str
    base_sha256: str
    family: str
    backends: list[str]
    resolution: int
    loras: list[str] = Field(description="adapters in the models folder, as lora_path takes them")
    lora_ids: list[str] = Field(description="the same by their ids: their paths in models/lora without the ending")
    verdicts: dict[str, Verdict] = Field(
        description="by path, what an evaluation said of an adapter: whether it beats the base, and at which scale to use it"
    )
    lora_loaded: bool
    lora_path: str | None = None
    lora_scale: float
    device: str = Field(description="what generates, as torch calls it: cpu or cuda")
    precision: str = Field(description="of the denoiser's numbers: fp32, bf16 or fp16")


class PresetLoraResponse(BaseModel):
    """An adapter of a preset."""

    ref: str
    weight: float
    triggers: list[str] = Field(description="words that are put before the prompt")


class PresetResponse(BaseModel):
    """A way to generate. What is null is as the server has it."""

    purpose: str
    base: str | None = None
    vae: str | None = None
    variant: str
    scheduler: str | None = None
    steps: int | None = None
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    prompt: str = Field(description="a template: {prompt} is the request's")
    negative_prompt: str | None = None
    prompt_parser: str | None = None
    loras: list[PresetLoraResponse]
    is_here: bool = Field(description="whether its base is on this machine; if not, the first request waits for it to be fetched")


class PresetsResponse(BaseModel):
    """The presets by their names."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.PRESETS))

    presets: dict[str, PresetResponse]


class BackendCapabilities(BaseModel):
    """What one variant can be asked for."""

    base: str
    is_loaded: bool
    steps: tuple[int, int]
    default_steps: int
    cfg: tuple[float, float]
    default_cfg: float


class CapabilitiesResponse(BaseModel):
    """What this server can do, and the limits of a request."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.CAPABILITIES))

    variants: dict[str, BackendCapabilities]
    schedulers: list[str]
    prompt_parsers: list[str]
    output_formats: list[str]
    max_batch: int
    max_loras: int
    size: tuple[int, int] = Field(description="smallest and largest edge in pixels, in multiples of 8")


class JobImage(BaseModel):
    """An image of a job."""

    id: str
    seed: int
    url: str


class JobResponse(BaseModel):
    """How a job is. ``position`` counts those before it in the queue; ``progress`` runs from 0 to 1."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.JOB_ANSWER, examples.JOB_DONE))

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int | None = None
    progress: float
    preview: str | None = Field(default=None, description="what the first image looks like so far, small, as a data URL")
    eta_s: float | None = Field(default=None, description="about how many seconds are left, from what the last ones took")
    images: list[JobImage]
    meta: Meta | None = None
    warnings: list[str]
    error: str | None = None


class InspectResponse(BaseModel):
    """What an image was made from, as it says itself."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.INSPECTED))

    program: str = Field(description="what wrote the image: zthumb, a1111, comfyui, draw things, fooocus, invokeai or swarmui")
    parameters: dict[str, Any] = Field(
        description="called as a request's fields are, what has no such name as the program calls it"
    )


class LiveResponse(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra=examples.shown({"status": "ok"}))

    status: Literal["ok"]


class ReadyResponse(BaseModel):
    """``ready`` is true once a real image was made; if it never can be, ``failed`` is true and ``reason`` says why."""

    model_config = ConfigDict(json_schema_extra=examples.shown({"ready": True, "failed": False, "reason": None}))

    ready: bool
    failed: bool
    reason: str | None = None
