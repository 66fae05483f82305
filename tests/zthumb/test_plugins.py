"""Families and backends are found by the names of their files."""

import pytest

from foundation.errors import BadInput
from zthumb import backends, families
from zthumb.backends.base import BaseBackend
from zthumb.families.base import ModelFamily


def test_every_family_is_found_by_its_name() -> None:
    assert "sdxl" in families.names()
    for name in families.names():
        family = families.get(name)
        assert isinstance(family, ModelFamily)
        assert family.name == name


def test_every_backend_is_found_by_its_name() -> None:
    assert "full" in backends.names()
    for name in backends.names():
        assert issubclass(backends.get(name), BaseBackend)
        assert backends.get(name).name == name


def test_the_error_for_a_misspelt_name_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'sdxl'"):
        families.get("sdlx")
    with pytest.raises(BadInput, match="Did you mean 'full'"):
        backends.get("ful")
