"""What is known of base models by name: ``catalogue.yaml``."""

from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).with_name("catalogue.yaml")


def entries() -> dict[str, dict[str, Any]]:
    """Every entry by its name."""
    values: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return values


def licence_of(reference: str) -> str:
    """The licence of the base that ``reference`` names, by its path or its repository's name; "unknown" for others."""
    found = _entry(reference)
    return str(found["licence"]) if found else "unknown"


def published_as(reference: str) -> str:
    """Where anybody finds the base that ``reference`` names, as a repository of the hub; ``reference`` itself for others."""
    found = _entry(reference)
    return str(found["reference"]) if found else reference


def _entry(reference: str) -> dict[str, Any] | None:
    name = Path(reference).name
    return next((entry for entry in entries().values() if Path(entry["reference"]).name == name), None)
