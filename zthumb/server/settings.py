"""Every setting of the server is an environment variable with a default."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from foundation.errors import BadInput
from zthumb import prompts
from zthumb.backends.base import Options, Precision
from zthumb.memory.quantize import Quantization
from zthumb.sources.reference import parse

MAX_WEIGHT = 100
"""Of an adapter, either way: slider adapters are made for weights of 5 and beyond."""

OutputFormat = Literal["png", "jpeg", "webp"]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SIZE = re.compile(r"(\d{2,4})(?:x(\d{2,4}))?")


def _size(text: object) -> object:
    """Width and height out of ``1024`` or ``1024x768``."""
    if not isinstance(text, str):
        return text
    found = _SIZE.fullmatch(text)
    edges = (int(found[1]), int(found[2] or found[1])) if found else ()
    if not edges or any(not 64 <= edge <= 2048 or edge % 8 for edge in edges):
        raise ValueError("is an edge, or width and height as in 1024x768, each 64 to 2048 pixels in multiples of 8")
    return edges


def _login(key: SecretStr | None) -> SecretStr | None:
    if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key.get_secret_value()):
        raise ValueError("has characters that no key has: spaces, line ends or accents")
    return key


Resolution = Annotated[tuple[int, int] | None, NoDecode, BeforeValidator(_size)]
Login = Annotated[SecretStr | None, AfterValidator(_login)]


class Settings(BaseSettings):
    """Settings of one server. Each is read from the environment; the command line may override host, port and model."""

    model_config = SettingsConfigDict(env_prefix="ZTHUMB_", env_ignore_empty=True, frozen=True, populate_by_name=True)

    model: str = Field(
        default="models/mini-sdxl",
        validation_alias="MODEL",
        description="the base model: a path, owner/name of the hub, an AIR, an https address, or a name of the catalogue",
    )
    vae: str | None = Field(default=None, description="an autoencoder in place of the base's own, named in the same ways")
    training_resolution: Resolution = Field(
        default=None,
        validation_alias=AliasChoices("TRAINING_RESOLUTION", "ZTHUMB_TRAINING_RESOLUTION"),
        description="what the base was trained at, as 1024 or 1024x768 (width by height): the size of requests that give none, "
        "and the original size that it is told of every image; by default the base's own, and each image's own",
    )
    turbo_model: str | None = Field(
        default=None, description="the base of variant turbo; by default the folder called as MODEL with -turbo after it"
    )
    gguf_model: str | None = Field(
        default=None, description="the denoiser of variant gguf; by default the file called as MODEL with .gguf after it"
    )
    models_folder: Path = Field(default=Path("models"), description="the folder that adapters named by a path or id lie in")
    fetched_folder: Path | None = Field(
        default=None, description="where models go that are fetched or laid out; by default the models folder"
    )
    presets_folder: Path = Field(default=Path("presets"), description="where presets lie, a file each")
    requests_fetch: bool | None = Field(
        default=None,
        description="whether requests may name adapters that must be fetched; by default only where this machine alone can ask",
    )
    civitai_api_key: Login = Field(
        default=None,
        validation_alias="CIVITAI_API_KEY",
        description="the login for Civitai, which some models take",
    )
    hf_token: Login = Field(
        default=None,
        validation_alias=AliasChoices("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"),
        description="the login for the hub, which gated models take",
    )
    data_folder: Path = Field(default=Path("outputs/server"), description="where jobs and their images are kept")
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the port to listen on")
    root_path: str = Field(
        default="",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="the path that a proxy serves this server below, as /sd; a proxy here may also tell it (X-Forwarded-Prefix)",
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
        description="the scale of requests that give none",
    )
    prompt_parser: str = Field(
        default="plain",
        validation_alias=AliasChoices("PROMPT_PARSER", "ZTHUMB_PROMPT_PARSER"),
        description="what marks in prompts mean, of requests that do not say: plain, compel or lpw",
    )
    output_format: OutputFormat = Field(default="png", description="of images of requests that do not say: png, jpeg or webp")
    precision: Precision = Field(default="auto", description="fp32, bf16 or fp16; auto is bf16 on a GPU and fp32 on a CPU")
    tile: int | None = Field(
        default=None, ge=64, multiple_of=8, description="decode images larger than so many pixels in tiles: less memory"
    )
    channels_last: bool = Field(default=False, description="lay weights out channels-last, which GPUs like")
    compile: bool = Field(default=False, description="compile the denoiser's repeated blocks: slow to start, faster after")
    quantization: Quantization = Field(
        default="none", description="the denoiser's linear weights in eight bits: int8wo, fp8wo, int8dq or fp8dq"
    )
    adapter_memory_mb: int = Field(default=1024, ge=1, description="room for adapters that lie ready, in MiB")
    queue_room: int = Field(
        default=4000, ge=1, description="the most that may wait, in steps of one image of the base's own size; beyond it 429"
    )
    together: int = Field(default=8, ge=1, le=64, description="how many images of like requests are generated at once")
    api_keys: SecretStr = Field(default=SecretStr(""), description="keys that may ask, with commas between; none: everybody may")
    names: str = Field(
        default="",
        description="names this server goes by, with commas between: others are turned away (DNS rebinding); by default those of "
        "this machine where it listens to it alone, else any",
    )
    origins: str = Field(default="", description="origins whose pages may ask, with commas between, as https://example.org")
    body_limit_mb: int = Field(default=32, ge=1, description="the largest request, in MiB")
    requests_per_minute: int | None = Field(default=None, ge=1, description="how often one client may ask; beyond it 429")
    timeout_s: float = Field(default=600, gt=0, description="a request that takes longer, waiting included, is given up")

    @field_validator("prompt_parser")
    @classmethod
    def _is_known(cls, name: str) -> str:
        prompts.get(name)
        return name

    @field_validator("model", "vae", "turbo_model", "gguf_model")
    @classmethod
    def _names_a_model(cls, text: str | None) -> str | None:
        try:
            return text if text is None else str(parse(text))
        except BadInput as error:
            raise ValueError(str(error)) from None

    @property
    def may_fetch(self) -> bool:
        """Whether requests may name what must be fetched."""
        return self.requests_fetch if self.requests_fetch is not None else self.host in _LOOPBACK

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys."""
        return _parts(self.api_keys.get_secret_value())

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names it goes by, if they were told."""
        return _parts(self.names)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may ask."""
        return _parts(self.origins)

    @property
    def options(self) -> Options:
        """How backends run their bases."""
        return Options(
            precision=self.precision,
            tile=self.tile,
            channels_last=self.channels_last,
            compile=self.compile,
            quantization=self.quantization,
            adapter_bytes=self.adapter_memory_mb * 2**20,
        )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def described() -> str:
    """Every setting: its variable, its default and what it is for, a line or two each."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None or field.default == SecretStr("") else f" (default: {field.default})"
        lines.append(f"  {' or '.join(variables(name))}\n      {field.description}{default}")
    return "\n".join(lines)


def variables(name: str) -> list[str]:
    """The environment variables that the setting called ``name`` is read from."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)] if alias else [f"ZTHUMB_{name.upper()}"]
