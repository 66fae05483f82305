"""Strict, frozen configuration: an unknown or misspelt key is an error that names the nearest valid one."""

import difflib
import json
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from foundation.errors import BadInput


class Strict(BaseModel):
    """Base of all configuration: frozen, unknown keys refused, defaults validated."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], values: Any, where: str) -> Model:
    """Validate ``values`` against ``model``.

    Raises ``BadInput`` that names ``where`` (a file or section), the key, what is wrong with it and, for an unknown key, the
    nearest valid one.
    """
    if not isinstance(values, dict):
        raise BadInput(f"{where}: expected keys and values, found {type(values).__name__}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadInput("\n".join(f"{where}: {line}" for line in explain(model, error))) from None


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Return one readable line for each error of a validation."""
    return [_line(model, details) for details in error.errors(include_url=False)]


def nearest(word: str, valid: Sequence[str]) -> str | None:
    """Return the valid word most similar to ``word``; None if none is similar."""
    matches = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return matches[0] if matches else None


def read_yaml(path: Path) -> Any:
    """Read a YAML file; a missing or malformed one raises ``BadInput`` that names it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def read_model(model: type[Model], path: Path, ignored_keys: Sequence[str] = ()) -> Model:
    """Read a JSON file as ``model``, ignoring ``ignored_keys``; ``BadInput`` names what is missing or wrong."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON: {error}.") from None
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name not in ignored_keys}
    return parse(model, values, str(path))


def _line(model: type[BaseModel], details: Any) -> str:
    location = tuple(details["loc"])
    key = ".".join(map(str, location))
    if details["type"] == "extra_forbidden":
        valid = sorted(_fields(model, location[:-1]))
        close = nearest(str(location[-1]), valid)
        hint = f"Did you mean {close!r}?" if close else f"Valid here: {', '.join(valid)}."
        return f"unknown key {key!r}. {hint}"
    return f"{key}: {details['msg']} (found {details['input']!r})."


def _fields(model: type[BaseModel], location: Sequence[str | int]) -> Sequence[str]:
    """Return the field names valid at ``location``, a path through nested models."""
    current: type[BaseModel] | None = model
    for key in location:
        field = _field(current, str(key)) if current else None
        current = _model_in(field.annotation) if field else current
    return [field.alias or name for name, field in current.model_fields.items()] if current else []


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    """Return the field whose name or alias is ``name``."""
    match = model.model_fields.get(name)
    return match or next((field for field in model.model_fields.values() if field.alias == name), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
    return None
