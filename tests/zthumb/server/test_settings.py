"""Every setting is in .env.example, with its default."""

import re

import pytest
from pydantic import SecretStr

from tests.conftest import ROOT
from zthumb.server.settings import Settings

LINES = re.findall(r"^(# )?([A-Z][A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)


def _names() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(f"ZTHUMB_{name.upper()}" if alias is None else alias if isinstance(alias, str) else str(alias.choices[0]))  # type: ignore[union-attr]
    return names


def test_the_example_names_every_setting_and_no_other() -> None:
    assert {name for _, name, _ in LINES} == _names()


def test_what_the_example_sets_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, name, _ in LINES:
        monkeypatch.delenv(name, raising=False)
    default = Settings()
    for comment, name, value in LINES:
        if not comment:
            monkeypatch.setenv(name, value)
    assert Settings() == default


@pytest.mark.parametrize("name", [name for comment, name, _ in LINES if comment])
def test_what_the_example_leaves_out_can_be_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (value,) = (value for _, each, value in LINES if each == name)
    monkeypatch.setenv(name, value)
    found = Settings().model_dump().values()
    assert value in {each.get_secret_value() if isinstance(each, SecretStr) else str(each) for each in found}
