import pytest
from pydantic import Field

from foundation.config import Strict, parse
from foundation.errors import BadInput


class Inner(Strict):
    learning_rate: float = Field(default=1.0, gt=0)


class Outer(Strict):
    steps: int = 1
    optimizer: Inner = Inner()


def test_a_misspelt_key_names_the_nearest_valid_one() -> None:
    with pytest.raises(BadInput, match=r"a\.yaml: unknown key 'setps'\. Did you mean 'steps'\?"):
        parse(Outer, {"setps": 3}, "a.yaml")


def test_a_misspelt_nested_key_names_the_nearest_one_of_its_section() -> None:
    with pytest.raises(BadInput, match=r"unknown key 'optimizer\.learning_rat'\. Did you mean 'learning_rate'\?"):
        parse(Outer, {"optimizer": {"learning_rat": 3}}, "a.yaml")


def test_a_key_like_no_other_lists_the_valid_ones() -> None:
    with pytest.raises(BadInput, match=r"Valid here: optimizer, steps\."):
        parse(Outer, {"qqqq": 3}, "a.yaml")


def test_a_value_out_of_range_is_named_with_its_key() -> None:
    with pytest.raises(BadInput, match=r"optimizer\.learning_rate: .*greater than 0.*found -1"):
        parse(Outer, {"optimizer": {"learning_rate": -1}}, "a.yaml")


def test_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().steps = 2  # type: ignore[misc]
