"""Families and backends are found by the name of their file."""

import pytest

from foundation.errors import BadInput
from zthumb import backends, families
from zthumb.backends.base import BaseBackend
from zthumb.families.base import Family


def test_every_family_there_is_can_be_had_by_its_name() -> None:
    assert "sdxl" in families.names()
    for name in families.names():
        family = families.get(name)
        assert isinstance(family, Family)
        assert family.name == name


def test_every_backend_there_is_can_be_had_by_its_name() -> None:
    assert "full" in backends.names()
    for name in backends.names():
        assert issubclass(backends.get(name), BaseBackend)
        assert backends.get(name).name == name


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'sdxl'"):
        families.get("sdlx")
    with pytest.raises(BadInput, match="Did you mean 'full'"):
        backends.get("ful")
