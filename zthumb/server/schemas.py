"""What the API takes and answers. Unknown fields are refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**63 - 1


class GenerateRequest(BaseModel):
    """One or several pictures of one prompt."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "a photo of a red star on a blue background", "seed": 7}]},
    )

    prompt: str = Field(max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own")
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="pixels; default: the base's own")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="of the first picture; drawn and reported if missing")
    steps: int = Field(default=25, ge=1, le=150)
    cfg: float = Field(default=5.0, ge=0, le=30, description="guidance scale")
    batch: int = Field(default=1, ge=1, le=16, description="number of pictures; their seeds count up from the first")
    variant: Literal["auto", "full"] = "auto"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    lora_path: str | None = Field(default=None, max_length=1000, description="an adapter inside the models folder")
    lora_scale: float | None = Field(default=None, ge=-2, le=2, description="0 is the base, 1 the adapter as trained")


class GeneratedImage(BaseModel):
    """One picture and the seed that makes it again."""

    seed: int
    b64_json: str


class AppliedLora(BaseModel):
    """The adapter the pictures were made with."""

    path: str
    scale: float
    sha256: str


class Meta(BaseModel):
    """How the pictures were made."""

    backend: str
    variant: str
    steps: int
    cfg: float
    width: int
    height: int
    timings: dict[str, float] = Field(description="seconds")
    lora: AppliedLora | None


class GenerateAnswer(BaseModel):
    """The pictures, how they were made, and what the user should know."""

    images: list[GeneratedImage]
    meta: Meta
    warnings: list[str]


class ModelsAnswer(BaseModel):
    """What this server serves. ``lora_loaded`` and ``lora_path`` tell the adapter of requests that name none."""

    base: str
    base_sha256: str
    family: str
    backends: list[str]
    resolution: int
    loras: list[str] = Field(description="adapters in the models folder, as lora_path takes them")
    lora_loaded: bool
    lora_path: str | None
    lora_scale: float


class HealthAnswer(BaseModel):
    """``ready`` is true once a real picture was made."""

    status: Literal["ok"]
    ready: bool
