"""What is known of models by name: ``catalogue.yaml``."""

from pathlib import Path

from pydantic import Field

from foundation.config import Strict, parse, read_yaml
from zthumb.sources.reference import Hub, Local
from zthumb.sources.reference import parse as parse_reference

MODELS = Path("models")
_FILE = Path(__file__).with_name("catalogue.yaml")


class Entry(Strict):
    """A model: what it is for, where it is from, and the SHA-256 of its files as far as they were computed or published.

    A ``gated`` one takes a login and an accepted licence. ``family`` is that of a base, None of what is none.
    """

    purpose: str
    reference: str
    licence: str
    family: str | None = None
    gated: bool = False
    files: dict[str, str] = Field(default={})


def entries() -> dict[str, Entry]:
    """Every entry by its name."""
    return {name: parse(Entry, values, f"{_FILE.name}: {name}") for name, values in read_yaml(_FILE).items()}


def licence_of(reference: str) -> str:
    """The licence of the base that ``reference`` names, by its path or its repository's name; "unknown" for others."""
    found = _entry(reference)
    return found.licence if found else "unknown"


def published_as(reference: str) -> str:
    """Where anybody finds the base that ``reference`` names, as a repository of the hub; ``reference`` itself for others."""
    found = _entry(reference)
    return found.reference if found else reference


def place(entry: Entry, models: Path = MODELS) -> Path | None:
    """Where a model of the catalogue lies once it was fetched by its name; None where only its page tells what it is called."""
    named = parse_reference(entry.reference)
    if isinstance(named, Local):
        return named.path
    return models / Path(named.repository).name if isinstance(named, Hub) else None


def _entry(reference: str) -> Entry | None:
    name = Path(reference).name
    return next((entry for key, entry in entries().items() if name in (key, Path(entry.reference).name)), None)
