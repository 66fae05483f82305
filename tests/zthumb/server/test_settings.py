"""Settings: .env.example lists all of them with their defaults, and invalid ones are reported at start."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zthumb.server.main import main
from zthumb.server.settings import Settings

LINES = re.findall(r"^(# )?([A-Z][A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)


def _variable_names() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(f"ZTHUMB_{name.upper()}" if alias is None else alias if isinstance(alias, str) else str(alias.choices[0]))  # type: ignore[union-attr]
    return names


def test_the_example_lists_every_setting_and_no_other() -> None:
    assert {name for _, name, _ in LINES} == _variable_names()


def test_values_in_the_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, name, _ in LINES:
        monkeypatch.delenv(name, raising=False)
    default = Settings()
    for comment, name, value in LINES:
        if not comment:
            monkeypatch.setenv(name, value)
    assert Settings() == default


@pytest.mark.parametrize("name", [name for comment, name, _ in LINES if comment])
def test_commented_settings_in_the_example_have_an_effect(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (value,) = (value for _, line_name, value in LINES if line_name == name)
    monkeypatch.delenv(name, raising=False)
    default = Settings()
    monkeypatch.setenv(name, value)
    assert Settings() != default


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TRAINING_RESOLUTION", "1024by1024", "must be one edge, or width and height as in 1024x768"),
        ("TRAINING_RESOLUTION", "1023", "in multiples of 8"),
        ("TRAINING_RESOLUTION", "4096", "64 to 2048 pixels"),
        ("MODEL", "http://example.org/a.safetensors", "only https URLs are accepted"),
        ("MODEL", "https://user:hf_1@example.org/a.safetensors", "neither a user nor a password"),
        ("hf_token", "hf_1 ", "contains characters that no key has"),
        ("ZTHUMB_PRESETS_FOLDER", "nowhere", "there is no folder nowhere"),
        ("MODEL", "urn:air:sdxl:nothing:civitai:1", "is not a type of an AIR"),
        ("ZTHUMB_VAE", " ", "names nothing"),
        ("CIVITAI_API_KEY", "two words", "contains characters that no key has"),
        ("HF_TOKEN", "hf_1\n", "contains characters that no key has"),
        ("PROMPT_PARSER", "lpv", "Did you mean 'lpw'?"),
        ("Z_LORA_SCALE", "101", "less than or equal to 100"),
        ("ZTHUMB_OUTPUT_FORMAT", "gif", "'png', 'jpeg' or 'webp'"),
        ("ZTHUMB_MODEL_FOLDER", "models", "Did you mean 'ZTHUMB_MODELS_FOLDER'?"),
    ],
)
def test_an_invalid_setting_is_reported_at_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("the server was started"))
    assert main(["--port", "0"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "hf_1" not in error
    assert "two words" not in error


@pytest.mark.parametrize(("value", "size"), [("1024", (1024, 1024)), ("1024x768", (1024, 768))])
def test_a_resolution_is_one_edge_or_width_and_height(monkeypatch: pytest.MonkeyPatch, value: str, size: tuple[int, int]) -> None:
    monkeypatch.setenv("TRAINING_RESOLUTION", value)
    assert Settings().training_resolution == size


@pytest.mark.parametrize(("host", "may_fetch"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)])
def test_requests_may_download_by_default_only_on_a_local_server(host: str, may_fetch: bool) -> None:
    assert Settings(host=host).may_fetch is may_fetch
    assert Settings(host=host, download_on_request=not may_fetch).may_fetch is not may_fetch


@pytest.mark.parametrize("name", ["IMAGE_MODEL_PATH", "IMAGE_MODEL_NAME"])
def test_the_base_may_be_named_as_other_image_servers_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setenv(name, "models/mini-sd15")

    assert Settings().model == "models/mini-sd15"


def test_a_share_of_memory_on_a_cpu_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGE_GPU_MEMORY_UTILIZATION", "0.9")
    monkeypatch.setenv("ZTHUMB_DEVICE", "cpu")

    assert main(["--port", "0"]) == 2
    assert "gpu_memory_utilization: cpu has no such limit" in capsys.readouterr().err


def test_adapters_and_reports_are_those_of_the_checkout_that_trains_unless_other_folders_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZTHUMB_TRAINING", "/srv/project")
    settings = Settings()
    assert settings.models_folder == Path("/srv/project/models")
    assert settings.reports_folder == Path("/srv/project/outputs/lora_eval")
    monkeypatch.setenv("ZTHUMB_MODELS_FOLDER", "/srv/models")
    assert Settings().models_folder == Path("/srv/models")
