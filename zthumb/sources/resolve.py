"""From what names a model to where it is on this disk, fetched first if need be."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.errors import BadInput
from zthumb.sources import civitai, hub
from zthumb.sources.catalogue import entries
from zthumb.sources.download import File, Watch, download
from zthumb.sources.guard import Policy
from zthumb.sources.reference import Address, Air, Hub, Local, Named, Reference, parse


@dataclass(frozen=True)
class Resolver:
    """Finds and fetches. What comes from addresses and Civitai lies in ``models``, what comes from the hub in the hub's cache.

    ``watch`` makes what is told of the progress of a file, by its name.
    """

    models: Path = Path("models")
    policy: Policy = field(default_factory=Policy)
    watch: Callable[[str], Watch] = lambda _: lambda _, __: None
    hub_endpoint: str | None = None
    hub_cache: Path | None = None
    civitai_host: str = civitai.HOST

    def path(self, text: str) -> Path:
        """The file or folder that ``text`` names; ``BadInput`` or ``StageFailed`` says why there is none."""
        return self._of(parse(text))

    def _of(self, named: Reference) -> Path:
        match named:
            case Local(path):
                return self._there(path.expanduser())
            case Named(name):
                return self._catalogued(name)
            case Hub():
                return hub.fetch(named, self.hub_endpoint, self.hub_cache)
            case Address(url):
                name = civitai.safe_name(unquote(urlsplit(url).path))
                return self._fetched(File(url), self.models / "downloads" / str(urlsplit(url).hostname) / name)
            case Air(source="huggingface"):
                return hub.fetch(Hub(named.id, named.version, named.file), self.hub_endpoint, self.hub_cache)
            case Air(source="civitai"):
                found = civitai.find(named, self.policy, self.civitai_host)
                return self._fetched(
                    found.file, self.models / "civitai" / civitai.safe_name(named.id) / found.version / found.name
                )
        raise BadInput(f"{named}: nothing is fetched from there.")

    def _there(self, path: Path) -> Path:
        if not path.exists():
            raise BadInput(f"{path}: nothing is there.")
        return path

    def _catalogued(self, name: str) -> Path:
        known = entries()
        if name not in known:
            raise BadInput(f"{name}: not in the catalogue, which has {', '.join(sorted(known))}.")
        return self._of(parse(known[name].reference))

    def _fetched(self, file: File, target: Path) -> Path:
        if not target.name.endswith(civitai.OPENED):
            raise BadInput(f"{target.name}: of a kind that is never opened; only {' and '.join(civitai.OPENED)} are.")
        download(file, target, self.policy, self.watch(target.name))
        return target
