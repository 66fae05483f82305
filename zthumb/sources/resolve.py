"""From what names a model to where it is on this disk, fetched first if need be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.errors import BadInput
from zthumb.adapters.words import note_triggers
from zthumb.sources import civitai, hub
from zthumb.sources.catalogue import MODELS, entries, place
from zthumb.sources.download import File, Watch, download
from zthumb.sources.guard import Policy
from zthumb.sources.reference import Address, Air, Hub, Local, Named, Reference, parse


@dataclass(frozen=True)
class Resolver:
    """Finds and fetches. What comes from addresses and Civitai lies in ``models``, what comes from the hub in the hub's cache.

    The words that call an adapter up, as Civitai tells them, are noted beside it.

    ``watch`` makes what is told of the progress of a file, by its name.
    """

    models: Path = MODELS
    policy: Policy = field(default_factory=Policy)
    watch: Callable[[str], Watch] = lambda _: lambda _, __: None
    hub_endpoint: str | None = None
    hub_cache: Path | None = None
    civitai_host: str = civitai.HOST

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
                known = entries().get(name)
                here = place(known, self.models) if known else None
                return here is not None and here.exists()
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
        known = entries()
        if name not in known:
            raise BadInput(f"{name}: nothing is there, and it is not in the catalogue, which has {', '.join(sorted(known))}.")
        here = place(known[name], self.models)
        return here if here is not None and here.exists() else self._of(parse(known[name].reference), wanted)

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
