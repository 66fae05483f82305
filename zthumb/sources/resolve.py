"""From what names a model to where it is on this disk, fetched first if need be."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.errors import BadInput, SourceFailed
from zthumb.adapters.words import note_triggers
from zthumb.sources import catalogue, civitai, hub
from zthumb.sources.catalogue import MODELS, Entry, faults, place
from zthumb.sources.download import ROOM, File, Watch, alone, download
from zthumb.sources.guard import Policy
from zthumb.sources.reference import Address, Air, Hub, Local, Named, Reference, parse


@dataclass(frozen=True)
class Resolver:
    """Finds and fetches. What comes from addresses and Civitai or is of the catalogue lies in ``models``, other repositories of
    the hub in the hub's cache. Models of the catalogue are looked for in the folders ``beside`` too, which are only read.

    The words that call an adapter up, as Civitai tells them, are noted beside it.

    ``watch`` makes what is told of the progress of a file, by its name.
    """

    models: Path = MODELS
    policy: Policy = field(default_factory=Policy)
    watch: Callable[[str], Watch] = lambda _: lambda _, __: None
    hub_endpoint: str | None = None
    hub_cache: Path | None = None
    civitai_host: str = civitai.HOST
    beside: tuple[Path, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where models may lie already."""
        return (self.models, *self.beside)

    def path(self, text: str, wanted: Sequence[str] = hub.WHOLE) -> Path:
        """The file or folder that ``text`` names; ``BadInput`` or ``SourceFailed`` says why there is none.

        ``wanted`` are the files that are fetched of a repository of the hub.
        """
        return self._of(parse(text), wanted)

    def is_here(self, text: str) -> bool:
        """Whether what ``text`` names is on this disk, as far as that is known without asking anybody."""
        match parse(text):
            case Local(path):
                return path.expanduser().exists()
            case Named(name):
                known = catalogue.entries().get(name)
                return known is not None and self._here(known) is not None
            case Address(url):
                return self._place_of(url).exists()
            case Hub() as named:
                return hub.is_here(named, self.hub_cache)
        return False

    def _place_of(self, url: str) -> Path:
        return self.models / "downloads" / str(urlsplit(url).hostname) / civitai.safe_name(unquote(urlsplit(url).path))

    def _of(self, named: Reference, wanted: Sequence[str]) -> Path:
        match named:
            case Local(path):
                return self._there(path.expanduser())
            case Named(name):
                return self._catalogued(name, wanted)
            case Hub():
                return hub.fetch(named, self.hub_endpoint, self.hub_cache, wanted=wanted)
            case Address(url):
                return self._fetched(File(url), self._place_of(url))
            case Air(source="huggingface"):
                return self._of(Hub(named.id, named.version, named.file), wanted)
            case Air(source="civitai"):
                return self._of_civitai(named)
        raise BadInput(f"{named}: nothing is fetched from there.")

    def _there(self, path: Path) -> Path:
        if not path.exists():
            raise BadInput(f"{path}: nothing is there.")
        return path

    def _catalogued(self, name: str, wanted: Sequence[str]) -> Path:
        known = catalogue.entry(name)
        if here := self._here(known):
            return here
        named, where = parse(known.reference), place(known, self.models)
        if not isinstance(named, Hub) or where is None:
            return self._of(named, wanted)
        return self._verified(known, named, where)

    def _here(self, entry: Entry) -> Path | None:
        """Where a model of the catalogue lies, if it was fetched before."""
        places = [place(entry, models) for models in self.folders]
        return next((where for where in places if where is not None and where.exists()), None)

    def _verified(self, entry: Entry, named: Hub, where: Path) -> Path:
        """Fetch a model of the catalogue to ``where``, which it only gets to when it is what is known of it."""
        where.parent.mkdir(parents=True, exist_ok=True)
        with alone(where):
            if where.exists():
                return where
            # What came of a fetch that was interrupted stays there, and is gone on with.
            beside = where.with_name(f".{where.name}.fetching")
            _check_room(entry, beside)
            found = hub.fetch(named, self.hub_endpoint, folder=beside)
            if wrong := faults(entry, found):
                shutil.rmtree(beside)
                raise SourceFailed(f"{'; '.join(wrong)}. Nothing was kept.")
            shutil.rmtree(beside / ".cache", ignore_errors=True)
            found.replace(where)
            shutil.rmtree(beside, ignore_errors=True)
        return where

    def _of_civitai(self, named: Air) -> Path:
        found = civitai.find(named, self.policy, self.civitai_host)
        target = self.models / "civitai" / civitai.safe_name(named.id) / found.version / found.name
        self._fetched(found.file, target)
        note_triggers(target, found.triggers)
        return target

    def _fetched(self, file: File, target: Path) -> Path:
        if not target.name.endswith(civitai.OPENED):
            raise BadInput(f"{target.name}: of a kind that is never opened; only {' and '.join(civitai.OPENED)} are.")
        download(file, target, self.policy, self.watch(target.name))
        return target


def _check_room(entry: Entry, beside: Path) -> None:
    """Refuse to begin what cannot end: the hub's library looks at one file at a time."""
    have = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file()) if beside.exists() else 0
    free = shutil.disk_usage(beside.parent).free
    if entry.size is not None and entry.size - have + ROOM > free:
        raise BadInput(
            f"{beside.parent}: {entry.size - have} bytes are still to come and {free} are free. Make room and try again."
        )
