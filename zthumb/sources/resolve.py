"""From what names a model to where it is on this disk, fetched first if need be."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.errors import BadInput, SourceFailed
from foundation.files import read_json, write_json
from foundation.hashing import hash_value
from zthumb.adapters.textual_inversion import note_triggers
from zthumb.sources import catalogue, civitai, hub
from zthumb.sources.catalogue import MODELS, Entry, faults, place
from zthumb.sources.download import File, ProgressCallback, alone, download
from zthumb.sources.guard import Policy
from zthumb.sources.kinds import MODEL, Kind
from zthumb.sources.reference import Address, Air, Hub, Local, Named, Reference, parse


@dataclass(frozen=True)
class Resolver:
    """Finds and fetches. What comes from addresses and Civitai or is of the catalogue lies in ``models``, other repositories of
    the hub in the hub's cache. Models of the catalogue are looked for in the folders ``beside`` too, which are only read.

    What is here is used as it is: nobody is asked whether there is another by now. The words that call an adapter up, as Civitai
    tells them, are noted beside it. ``watch`` makes what is told of the progress of a file, by its name.
    """

    models: Path = MODELS
    policy: Policy = field(default_factory=Policy)
    watch: Callable[[str], ProgressCallback] = lambda _: lambda _, __: None
    hub_endpoint: str | None = None
    hub_cache: Path | None = None
    civitai_host: str = civitai.HOST
    beside: tuple[Path, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where models may lie already."""
        return (self.models, *self.beside)

    def path(self, text: str, kind: Kind = MODEL) -> Path:
        """The file or folder that ``text`` names; ``BadInput`` or ``SourceFailed`` says why there is none."""
        named = parse(text)
        return self._here(named, kind) or self._fetched(named, kind)

    def here(self, text: str, kind: Kind = MODEL) -> Path | None:
        """The same if it is on this disk, else None; nobody is asked and nothing is fetched."""
        return self._here(parse(text), kind)

    def _here(self, named: Reference, kind: Kind) -> Path | None:
        match named:
            case Local(path):
                return path.expanduser() if path.expanduser().exists() else None
            case Named(name):
                return self._catalogued_here(catalogue.entry(name))
            case Address(url):
                return self._place_of(url) if self._place_of(url).exists() else None
            case Hub():
                return hub.here(named, self.hub_cache, kind)
            case Air(source="huggingface"):
                return self._here(_hub_of(named), kind)
            case Air(source="civitai"):
                return self._noted(named)
        return None

    def _fetched(self, named: Reference, kind: Kind) -> Path:
        match named:
            case Local(path):
                raise BadInput(f"{path}: nothing is there.")
            case Named(name):
                return self._catalogued(catalogue.entry(name), kind)
            case Hub():
                return hub.fetch(named, self.hub_endpoint, self.hub_cache, kind=kind)
            case Address(url):
                return self._downloaded(File(url), self._place_of(url))
            case Air(source="huggingface"):
                return self._fetched(_hub_of(named), kind)
            case Air(source="civitai"):
                return self._of_civitai(named)
        raise BadInput(f"{named}: nothing is fetched from there.")

    def _place_of(self, url: str) -> Path:
        """Two files may have one name on one host, and are not one file."""
        name = civitai.safe_name(unquote(urlsplit(url).path))
        return self.models / "downloads" / str(urlsplit(url).hostname) / hash_value(url)[:12] / name

    def _downloaded(self, file: File, target: Path) -> Path:
        if not target.name.lower().endswith(civitai.OPENED):
            raise BadInput(f"{target.name}: of a kind that is never opened; only {' and '.join(civitai.OPENED)} are.")
        download(file, target, self.policy, self.watch(target.name))
        return target

    def _of_civitai(self, named: Air) -> Path:
        found = civitai.find(named, self.policy, self.civitai_host)
        target = self.models / "civitai" / found.model / found.version / found.name
        self._downloaded(found.file, target)
        note_triggers(target, found.triggers)
        write_json(self._note(named), {"path": target.relative_to(self.models).as_posix(), **_state(target)})
        return target

    def _note(self, named: Air) -> Path:
        return self.models / "civitai" / "found" / f"{hash_value(str(named))[:16]}.json"

    def _noted(self, named: Air) -> Path | None:
        """What was fetched for that name before, if it is still that very file."""
        try:
            told = read_json(self._note(named))
            path = self.models / told.pop("path")
            return path if told == _state(path) else None
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None

    def _catalogued_here(self, entry: Entry) -> Path | None:
        """Where a model of the catalogue lies, if it was fetched before."""
        places = [place(entry, models) for models in self.folders]
        return next((where for where in places if where is not None and where.exists()), None)

    def _catalogued(self, entry: Entry, kind: Kind) -> Path:
        """Fetch a model of the catalogue to its place, which it only gets to when it is what is known of it."""
        named, where = parse(entry.reference), place(entry, self.models)
        if not isinstance(named, Hub) or where is None:
            return self._fetched(named, kind)
        where.parent.mkdir(parents=True, exist_ok=True)
        with alone(where):
            if where.exists():
                return where
            # What came of a fetch that was interrupted stays there, and is gone on with.
            beside = where.with_name(f".{where.name}.fetching")
            found = hub.fetch(named, self.hub_endpoint, folder=beside, kind=kind)
            if wrong := faults(entry, found):
                shutil.rmtree(beside)
                raise SourceFailed(f"{'; '.join(wrong)}. Nothing was kept.")
            shutil.rmtree(beside / ".cache", ignore_errors=True)
            found.replace(where)
            shutil.rmtree(beside, ignore_errors=True)
        return where


def _hub_of(named: Air) -> Hub:
    return Hub(named.id, named.version, named.file)


def _state(path: Path) -> dict[str, int]:
    state = path.stat()
    return {"size": state.st_size, "changed": state.st_mtime_ns}
