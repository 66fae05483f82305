"""What is known of models by name: ``catalogue.yaml``."""

from pathlib import Path

from pydantic import Field

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput
from foundation.hashing import hash_file
from zthumb.sources.reference import Hub, Local
from zthumb.sources.reference import parse as parse_reference

MODELS = Path("models")
_FILE = Path(__file__).with_name("catalogue.yaml")


class Known(Strict):
    """What was computed or published of a file: its SHA-256, and its size in bytes."""

    sha256: str = Field(pattern=r"[0-9a-f]{64}")
    size: int | None = Field(default=None, gt=0)


class Entry(Strict):
    """A model: what it is for, where it is from, and what is known of its files.

    A ``gated`` one takes a login and an accepted licence. ``family`` is that of a base, None of what is none. It is fetched to
    ``folder`` in the models folder.
    """

    purpose: str
    reference: str
    licence: str
    family: str | None = None
    gated: bool = False
    folder: Path = Path()
    files: dict[str, Known] = Field(default={})

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where one's is not known, or which they are is not."""
        sizes = [known.size for known in self.files.values()]
        return sum(size for size in sizes if size) if sizes and all(sizes) else None


def entries() -> dict[str, Entry]:
    """Every entry by its name."""
    return {name: parse(Entry, values, f"{_FILE.name}: {name}") for name, values in read_yaml(_FILE).items()}


def entry(name: str) -> Entry:
    """The entry called ``name``; ``BadInput`` tells those there are."""
    known = entries()
    if name not in known:
        raise BadInput(f"{name}: nothing is there, and it is not in the catalogue, which has {', '.join(sorted(known))}.")
    return known[name]


def licence_of(reference: str) -> str:
    """The licence of the base that ``reference`` names, by its path or its repository's name; "unknown" for others."""
    found = _entry(reference)
    return found.licence if found else "unknown"


def published_as(reference: str) -> str:
    """Where anybody finds the base that ``reference`` names, as a repository of the hub; ``reference`` itself for others."""
    found = _entry(reference)
    named = parse_reference(found.reference) if found else None
    return named.repository if isinstance(named, Hub) else str(named) if named else reference


def place(entry: Entry, models: Path = MODELS) -> Path | None:
    """Where a model of the catalogue lies once it was fetched by its name; None where only its page tells what it is called."""
    named = parse_reference(entry.reference)
    if isinstance(named, Local):
        return models / named.path.relative_to(MODELS) if named.path.is_relative_to(MODELS) else named.path
    return models / entry.folder / Path(named.file or named.repository).name if isinstance(named, Hub) else None


def faults(entry: Entry, where: Path) -> list[str]:
    """Which files of a model in ``where``, a folder or its only file, are missing or not what is known of them."""
    found = []
    for name, known in entry.files.items():
        path = where if where.is_file() else where / name
        if not path.is_file():
            found.append(f"{path}: is missing")
        elif (digest := hash_file(path)) != known.sha256:
            found.append(f"{path}: has SHA-256 {digest}, {known.sha256} was wanted")
    return found


def named_as(folder: str) -> str:
    """The name of the entry whose folder or file is called ``folder``; that itself if there is none."""
    return next((key for key, entry in entries().items() if folder in {key, *_last(entry)}), folder)


def _entry(reference: str) -> Entry | None:
    return entries().get(named_as(Path(reference).name))


def _last(entry: Entry) -> set[str]:
    """What a model's folder or file is called."""
    named = parse_reference(entry.reference)
    names = [named.repository, named.file or ""] if isinstance(named, Hub) else [entry.reference]
    return {Path(name).name for name in names if name}
