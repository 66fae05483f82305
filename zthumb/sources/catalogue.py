"""The models known by name: ``catalogue.yaml``."""

from pathlib import Path

from pydantic import Field

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput
from foundation.hashing import hash_file
from foundation.plugins import suggestion
from zthumb.sources.reference import Hub, Local
from zthumb.sources.reference import parse as parse_reference

MODELS = Path("models")
_FILE = Path(__file__).with_name("catalogue.yaml")
DEFAULT_PROMPTS = "sdxl"
"""The prompts for bases of the world, and for those that are not in the catalogue."""


class KnownFile(Strict):
    """What was computed or published of a file: its SHA-256, and its size in bytes."""

    sha256: str = Field(pattern=r"[0-9a-f]{64}")
    size: int | None = Field(default=None, gt=0)


class CatalogueEntry(Strict):
    """A model: its purpose, its source, and the known hashes and sizes of its files.

    A ``gated`` model needs a login and an accepted licence. ``family`` is that of a base, None for other models; ``prompts`` are
    those that adapters of a base are evaluated with, a file in ``evaluation/prompts``. ``folder`` is where it is downloaded to,
    relative to the models folder.
    """

    purpose: str
    reference: str
    licence: str
    family: str | None = None
    prompts: str = DEFAULT_PROMPTS
    gated: bool = False
    folder: Path = Path()
    files: dict[str, KnownFile] = Field(default={})

    @property
    def size(self) -> int | None:
        """Return the total bytes of all files; None where the list of files or one of their sizes is not known."""
        sizes = [known.size for known in self.files.values()]
        return sum(size for size in sizes if size) if sizes and all(sizes) else None


def entries() -> dict[str, CatalogueEntry]:
    """Return every entry by its name."""
    return {name: parse(CatalogueEntry, values, f"{_FILE.name}: {name}") for name, values in read_yaml(_FILE).items()}


def entry(name: str) -> CatalogueEntry:
    """Return the entry called ``name``; ``BadInput`` names the nearest one there is."""
    known = entries()
    if name not in known:
        raise BadInput(f"{name}: does not exist, and is not in the catalogue. {suggestion(name, sorted(known))}")
    return known[name]


def licence_of(reference: str) -> str:
    """Return the licence of the base that ``reference`` names, by its path or repository name; "unknown" for others."""
    match = _entry_of(reference)
    return match.licence if match else "unknown"


def family_of(reference: str) -> str | None:
    """Return the family of the base that ``reference`` names, by its path or repository name; None for others."""
    match = _entry_of(reference)
    return match.family if match else None


def prompts_of(reference: str) -> str:
    """Return the prompts that adapters of the base that ``reference`` names are evaluated with."""
    match = _entry_of(reference)
    return match.prompts if match else DEFAULT_PROMPTS


def published_as(reference: str) -> str:
    """Return the hub repository of the base that ``reference`` names, where anybody finds it; ``reference`` itself for others."""
    match = _entry_of(reference)
    published = parse_reference(match.reference) if match else None
    return published.repository if isinstance(published, Hub) else str(published) if published else reference


def local_path(entry: CatalogueEntry, models: Path = MODELS) -> Path | None:
    """Return the path of a model once it was downloaded by name; None where only its source knows its file name."""
    reference = parse_reference(entry.reference)
    if isinstance(reference, Local):
        return models / reference.path.relative_to(MODELS) if reference.path.is_relative_to(MODELS) else reference.path
    return models / entry.folder / Path(reference.file or reference.repository).name if isinstance(reference, Hub) else None


def find_mismatches(entry: CatalogueEntry, model: Path) -> list[str]:
    """Return one message for each known file of ``model``, a folder or its only file, that is missing or has another hash."""
    mismatches = []
    for name, known in entry.files.items():
        path = model if model.is_file() else model / name
        if not path.is_file():
            mismatches.append(f"{path}: is missing")
        elif (digest := hash_file(path)) != known.sha256:
            mismatches.append(f"{path}: has SHA-256 {digest}, expected {known.sha256}")
    return mismatches


def entry_name(folder: str) -> str:
    """Return the name of the entry whose folder or file is called ``folder``; ``folder`` itself if there is none."""
    return next((name for name, entry in entries().items() if folder in {name, *_file_names(entry)}), folder)


def _entry_of(reference: str) -> CatalogueEntry | None:
    return entries().get(entry_name(Path(reference).name))


def _file_names(entry: CatalogueEntry) -> set[str]:
    """Return the names that a model's folder or file may have."""
    reference = parse_reference(entry.reference)
    names = [reference.repository, reference.file or ""] if isinstance(reference, Hub) else [entry.reference]
    return {Path(name).name for name in names if name}
