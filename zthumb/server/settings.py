"""Every setting of the server is an environment variable with a default."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one server. Each is read from the environment; the command line may override host, port and model."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True)

    model: str = Field(default="models/mini-sdxl", validation_alias=AliasChoices("MODEL", "model"), description="the base model")
    models_folder: Path = Field(
        default=Path("models"),
        validation_alias=AliasChoices("ZTHUMB_MODELS_FOLDER", "models_folder"),
        description="the folder that every lora_path must lie in",
    )
    host: str = Field(
        default="127.0.0.1", validation_alias=AliasChoices("ZTHUMB_HOST", "host"), description="the address to listen on"
    )
    port: int = Field(
        default=8000, ge=0, le=65535, validation_alias=AliasChoices("ZTHUMB_PORT", "port"), description="the port to listen on"
    )
    lora_path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("Z_LORA_PATH", "ZTHUMB_LORA_PATH", "lora_path"),
        description="the adapter of requests that name none",
    )
    lora_scale: float = Field(
        default=0.8,
        validation_alias=AliasChoices("Z_LORA_SCALE", "ZTHUMB_LORA_SCALE", "lora_scale"),
        description="the scale of requests that give none",
    )
