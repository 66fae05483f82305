"""The settings of the server, each an environment variable with a default."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from foundation.errors import BadInput
from zthumb.backends.base import Options, Precision
from zthumb.generation import prompts
from zthumb.memory import budget
from zthumb.memory.quantize import Quantization
from zthumb.sources.reference import parse

MAX_WEIGHT = 100
"""The largest weight of an adapter, positive or negative: slider adapters are made for weights of 5 and more."""

OutputFormat = Literal["png", "jpeg", "webp"]
_LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
_SIZE = re.compile(r"(\d{2,4})(?:x(\d{2,4}))?")


def _parse_size(text: object) -> object:
    """Return width and height in pixels from ``1024`` or ``1024x768``."""
    if not isinstance(text, str):
        return text
    match = _SIZE.fullmatch(text)
    edges = (int(match[1]), int(match[2] or match[1])) if match else ()
    if not edges or any(not 64 <= edge <= 2048 or edge % 8 for edge in edges):
        raise ValueError("must be one edge, or width and height as in 1024x768, each 64 to 2048 pixels in multiples of 8")
    return edges


def _check_token(token: SecretStr | None) -> SecretStr | None:
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
        raise ValueError("contains characters that no key has: spaces, line breaks or accents")
    return token


MemoryBudget = Annotated[str | None, AfterValidator(lambda text: text if text is None else budget.check(text))]
Resolution = Annotated[tuple[int, int] | None, NoDecode, BeforeValidator(_parse_size)]
Token = Annotated[SecretStr | None, AfterValidator(_check_token)]


class Settings(BaseSettings):
    """The settings of one server, read from the environment; the command line may override host, port and model."""

    model_config = SettingsConfigDict(env_prefix="ZTHUMB_", env_ignore_empty=True, frozen=True, populate_by_name=True)

    model: str = Field(
        default="models/mini-sdxl",
        validation_alias=AliasChoices("MODEL", "IMAGE_MODEL_PATH", "IMAGE_MODEL_NAME"),
        description="the base model: a path, owner/name of the hub, an AIR, an https URL, or a name of the catalogue",
    )
    dummy: bool = Field(
        default=False,
        validation_alias=AliasChoices("DUMMY", "ZTHUMB_DUMMY"),
        description="random weights in place of the base's own, of the same shapes: to try a machine with nothing downloaded",
    )
    vae: str | None = Field(default=None, description="an autoencoder that replaces the base's own; the same kinds of reference")
    text_encoder: str | None = Field(
        default=None,
        description="a small text encoder that was distilled from the large one of MODEL and takes its place; the same kinds of "
        "reference",
    )
    training_resolution: Resolution = Field(
        default=None,
        validation_alias=AliasChoices("TRAINING_RESOLUTION", "ZTHUMB_TRAINING_RESOLUTION"),
        description="the size the base was trained at, as 1024 or 1024x768 (width by height): the size of requests that give "
        "none, and the original size, for bases that are conditioned on one; by default the base's own, and each image's own",
    )
    turbo_model: str | None = Field(
        default=None, description="the base of variant turbo; by default the folder MODEL with -turbo appended"
    )
    turbo_adapter: str | None = Field(
        default=None,
        description="an adapter that makes few steps enough, as Lightning's do: variant turbo is the base with it, at strength 1",
    )
    gguf_model: str | None = Field(
        default=None, description="the denoiser of variant gguf; by default the file MODEL with .gguf appended"
    )
    models_folder: Path = Field(
        default=Path("models"),
        description="the folder of adapters that are named by a path or id; by default that of ZTHUMB_TRAINING, if that is set",
    )
    download_folder: Path | None = Field(
        default=None, description="the folder for downloaded and converted models; by default the models folder"
    )
    presets_folder: Path = Field(default=Path("presets"), description="the folder of presets, one file each")
    reports_folder: Path = Field(
        default=Path("outputs/lora_eval"),
        description="the folder of the evaluation's reports, one folder each; by default that of ZTHUMB_TRAINING, if that is set",
    )
    training: Path | None = Field(
        default=None,
        description="the folder of a checkout of this project, in which pages may edit data sets and start trainings and "
        "evaluations; by default they may not",
    )
    download_on_request: bool | None = Field(
        default=None,
        description="whether requests may name adapters that must be downloaded; by default only for a server on loopback",
    )
    civitai_api_key: Token = Field(
        default=None,
        validation_alias="CIVITAI_API_KEY",
        description="the API key for Civitai, which some models require",
    )
    hf_token: Token = Field(
        default=None,
        validation_alias=AliasChoices("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"),
        description="the API key for the hub, which gated models require",
    )
    data_folder: Path = Field(default=Path("outputs/server"), description="the folder for jobs and their images")
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the port to listen on")
    root_path: str = Field(
        default="",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="the path below which a proxy serves this server, as /sd; a local proxy may send it too (X-Forwarded-Prefix)",
    )
    lora_path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("Z_LORA_PATH", "ZTHUMB_LORA_PATH"),
        description="the adapter of requests that name none",
    )
    lora_scale: float = Field(
        default=0.8,
        ge=-MAX_WEIGHT,
        le=MAX_WEIGHT,
        validation_alias=AliasChoices("Z_LORA_SCALE", "ZTHUMB_LORA_SCALE"),
        description="the scale of adapters in requests that give none",
    )
    prompt_parser: str = Field(
        default="plain",
        validation_alias=AliasChoices("PROMPT_PARSER", "ZTHUMB_PROMPT_PARSER"),
        description="the prompt syntax of requests that name none: plain, compel or lpw",
    )
    output_format: OutputFormat = Field(
        default="png", description="the image format of requests that name none: png, jpeg or webp"
    )
    device: str = Field(
        default="auto",
        description="where models run: cuda (ROCm too), xpu, mps, cpu, with an index as in cuda:1; auto is the fastest",
    )
    gpu_memory_utilization: float | None = Field(
        default=None,
        gt=0,
        le=1,
        validation_alias=AliasChoices("ZTHUMB_GPU_MEMORY_UTILIZATION", "IMAGE_GPU_MEMORY_UTILIZATION"),
        description="the share of the GPU's memory that this server may take, 0 to 1; by default all that is free",
    )
    memory_budget: MemoryBudget = Field(
        default=None,
        validation_alias=AliasChoices("MEMORY_BUDGET", "ZTHUMB_MEMORY_BUDGET"),
        description="memory on the device that generating may take, as 12GB, or auto for most of what is free: how to keep "
        "within it is planned before the base is loaded, and an image that cannot is refused; by default all is on the device",
    )
    idle_unload_s: float | None = Field(
        default=None,
        gt=0,
        description="seconds without an image after which a model is unloaded; the next request loads it again",
    )
    pinned_models: str = Field(
        default="", description="models that are never unloaded, as they are named in MODEL or a preset, separated by commas"
    )
    precision: Precision = Field(
        default="auto", description="fp32, bf16 or fp16; auto is bf16 on a GPU, and fp32 on a CPU or MPS"
    )
    tile: int | None = Field(
        default=None,
        ge=64,
        multiple_of=8,
        description="decode images larger than this many pixels in tiles of this size, to save memory",
    )
    channels_last: bool = Field(default=False, description="store weights channels-last, which is faster on GPUs")
    compile: bool = Field(default=False, description="compile the denoiser's repeated blocks: slower start, faster images")
    quantization: Quantization = Field(
        default="none",
        description="quantize the denoiser's weights to eight bits, int8wo, fp8wo, int8dq or fp8dq, or to four, nf4",
    )
    salience: Path | None = Field(
        default=None,
        description="a file of `zthumb calibrate` for MODEL and the quantization: what is lost by rounding is divided between "
        "inputs and weights",
    )
    adapter_memory_mb: int = Field(default=1024, ge=1, description="memory for adapters that stay loaded, in MiB")
    queue_capacity: int = Field(
        default=4000,
        ge=1,
        description="the capacity of the queue, in steps of one image of the base's own size; beyond it requests get status 429",
    )
    batch_size: int = Field(default=8, ge=1, le=64, description="the largest batch of compatible requests, in images")
    api_keys: SecretStr = Field(
        default=SecretStr(""), description="valid API keys, separated by commas; without any, no key is needed"
    )
    allowed_hosts: str = Field(
        default="",
        description="host names of this server, separated by commas: others are rejected (DNS rebinding); by default those of "
        "this machine if the server listens on loopback, else any",
    )
    origins: str = Field(
        default="", description="origins whose pages may send requests, separated by commas, as https://example.org"
    )
    body_limit_mb: int = Field(default=32, ge=1, description="the largest request, in MiB")
    adapter_upload_mb: int = Field(default=2048, ge=1, description="the largest adapter that a page may send, in MiB")
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="the requests of one client in a minute, beyond which they get status 429; what a page reads to show jobs "
        "and images is not counted",
    )
    timeout_s: float = Field(
        default=600, gt=0, description="the timeout of a request in seconds, including its time in the queue"
    )

    @model_validator(mode="before")
    @classmethod
    def _use_what_is_trained(cls, values: Any) -> Any:
        """Let adapters and reports that are made by a training from here be those that are shown and used."""
        training = values.get("training") if isinstance(values, dict) else None
        if not training:
            return values
        folders = {"models_folder": Path(training) / "models", "reports_folder": Path(training) / "outputs" / "lora_eval"}
        return {**folders, **values}

    @field_validator("prompt_parser")
    @classmethod
    def _is_a_parser(cls, name: str) -> str:
        prompts.get(name)
        return name

    @field_validator("model", "vae", "text_encoder", "turbo_model", "turbo_adapter", "gguf_model")
    @classmethod
    def _names_a_model(cls, text: str | None) -> str | None:
        try:
            return text if text is None else str(parse(text))
        except BadInput as error:
            raise ValueError(str(error)) from None

    @property
    def may_fetch(self) -> bool:
        """Whether requests may name adapters that must be downloaded."""
        return self.download_on_request if self.download_on_request is not None else self.host in _LOOPBACK_HOSTS

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys."""
        return _split_list(self.api_keys.get_secret_value())

    @property
    def pinned(self) -> tuple[str, ...]:
        """The models that are never unloaded."""
        return _split_list(self.pinned_models)

    @property
    def allowed_host_names(self) -> tuple[str, ...]:
        """The accepted host names; empty if none were set."""
        return _split_list(self.allowed_hosts)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may call this server."""
        return _split_list(self.origins)

    @property
    def options(self) -> Options:
        """The options of every backend."""
        return Options(
            device=self.device,
            precision=self.precision,
            tile=self.tile,
            channels_last=self.channels_last,
            compile=self.compile,
            quantization=self.quantization,
            salience=self.salience,
            adapter_bytes=self.adapter_memory_mb * 2**20,
            dummy=self.dummy,
        )


def _split_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def describe_settings() -> str:
    """Return the help text of all settings: variables, description and default of each."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", SecretStr("")) else f" (default: {field.default})"
        lines.append(f"  {' or '.join(variables(name))}\n      {field.description}{default}")
    return "\n".join(lines)


def variables(name: str) -> list[str]:
    """Return the environment variables that the setting called ``name`` is read from."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)] if alias else [f"ZTHUMB_{name.upper()}"]
