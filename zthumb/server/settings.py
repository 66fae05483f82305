"""Every setting of the server is an environment variable with a default."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one server. Each is read from the environment; the command line may override host, port and model."""

    model_config = SettingsConfigDict(env_prefix="ZTHUMB_", env_ignore_empty=True, frozen=True, populate_by_name=True)

    model: str = Field(default="models/mini-sdxl", validation_alias="MODEL", description="the base model")
    models_folder: Path = Field(default=Path("models"), description="the folder that every lora_path must lie in")
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the port to listen on")
    lora_path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("Z_LORA_PATH", "ZTHUMB_LORA_PATH"),
        description="the adapter of requests that name none",
    )
    lora_scale: float = Field(
        default=0.8,
        ge=-2,
        le=2,
        validation_alias=AliasChoices("Z_LORA_SCALE", "ZTHUMB_LORA_SCALE"),
        description="the scale of requests that give none",
    )
