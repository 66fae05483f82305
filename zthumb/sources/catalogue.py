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
    name = Path(reference).name
    for entry in entries().values():
        if Path(entry["reference"]).name == name:
            return str(entry["licence"])
    return "unknown"
