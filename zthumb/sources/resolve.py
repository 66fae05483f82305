"""From a reference to a model to its path on this disk, downloading it first if need be."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.errors import BadInput, SourceFailed
from foundation.files import read_json, write_json
from foundation.hashing import hash_value
from zthumb.sources import catalogue, civitai, hub
from zthumb.sources.catalogue import MODELS, CatalogueEntry, find_mismatches, local_path
from zthumb.sources.download import File, ProgressCallback, download, file_lock
from zthumb.sources.guard import Policy
from zthumb.sources.kinds import MODEL, Kind
from zthumb.sources.reference import Air, Hub, Local, Named, Reference, Url, parse
from zthumb.sources.trigger_words import store_triggers


@dataclass(frozen=True)
class Resolver:
    """Finds models on this disk and downloads missing ones.

    Downloads from URLs and Civitai and models of the catalogue are stored in ``models``, other hub repositories in the hub's
    cache. Models of the catalogue are also searched for in the read-only folders ``beside``. A model on this disk is used
    without asking its source for a newer version. The trigger words of an adapter that Civitai states are stored next to it.
    ``watch`` returns the progress callback of a file, by name.
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
        """Return the folders that may already hold models."""
        return (self.models, *self.beside)

    def path(self, text: str, kind: Kind = MODEL) -> Path:
        """Return the file or folder that ``text`` names; ``BadInput`` or ``SourceFailed`` says why there is none."""
        reference = parse(text)
        return self._find(reference, kind) or self._fetch(reference, kind)

    def here(self, text: str, kind: Kind = MODEL) -> Path | None:
        """Return the same if it is on this disk, else None; without any network access."""
        return self._find(parse(text), kind)

    def _find(self, reference: Reference, kind: Kind) -> Path | None:
        match reference:
            case Local(path):
                return path.expanduser() if path.expanduser().exists() else None
            case Named(name):
                return self._find_in_catalogue(catalogue.entry(name))
            case Url(url):
                return self._url_target(url) if self._url_target(url).exists() else None
            case Hub():
                return hub.cached(reference, self.hub_cache, kind)
            case Air(source="huggingface"):
                return self._find(_to_hub(reference), kind)
            case Air(source="civitai"):
                return self._find_from_civitai(reference)
        return None

    def _fetch(self, reference: Reference, kind: Kind) -> Path:
        match reference:
            case Local(path):
                raise BadInput(f"{path}: does not exist.")
            case Named(name):
                return self._fetch_from_catalogue(catalogue.entry(name), kind)
            case Hub():
                return hub.fetch(reference, self.hub_endpoint, self.hub_cache, kind=kind)
            case Url(url):
                return self._download(File(url), self._url_target(url))
            case Air(source="huggingface"):
                return self._fetch(_to_hub(reference), kind)
            case Air(source="civitai"):
                return self._fetch_from_civitai(reference)
        raise BadInput(f"{reference}: downloads from this source are not supported.")

    def _url_target(self, url: str) -> Path:
        """Return where the file of ``url`` is stored: below the URL's hash, as two files of a host may have the same name."""
        name = civitai.safe_name(unquote(urlsplit(url).path))
        return self.models / "downloads" / str(urlsplit(url).hostname) / hash_value(url)[:12] / name

    def _download(self, file: File, target: Path) -> Path:
        if not target.name.lower().endswith(civitai.ALLOWED_EXTENSIONS):
            raise BadInput(f"{target.name}: of a kind that is never opened; only {' and '.join(civitai.ALLOWED_EXTENSIONS)} are.")
        download(file, target, self.policy, self.watch(target.name))
        return target

    def _fetch_from_civitai(self, air: Air) -> Path:
        match = civitai.look_up(air, self.policy, self.civitai_host)
        target = self.models / "civitai" / match.model / match.version / match.name
        self._download(match.file, target)
        store_triggers(target, match.triggers)
        write_json(self._record_path(air), {"path": target.relative_to(self.models).as_posix(), **_state(target)})
        return target

    def _record_path(self, air: Air) -> Path:
        return self.models / "civitai" / "found" / f"{hash_value(str(air))[:16]}.json"

    def _find_from_civitai(self, air: Air) -> Path | None:
        """Return the file that was downloaded for this AIR before, if it is unchanged since."""
        try:
            record = read_json(self._record_path(air))
            path = self.models / record.pop("path")
            return path if record == _state(path) else None
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None

    def _find_in_catalogue(self, entry: CatalogueEntry) -> Path | None:
        """Return the path of a model of the catalogue, if it was downloaded before."""
        paths = [local_path(entry, models) for models in self.folders]
        return next((path for path in paths if path is not None and path.exists()), None)

    def _fetch_from_catalogue(self, entry: CatalogueEntry, kind: Kind) -> Path:
        """Download a model of the catalogue; it gets its final path only after its known hashes were verified."""
        reference, target = parse(entry.reference), local_path(entry, self.models)
        if not isinstance(reference, Hub) or target is None:
            return self._fetch(reference, kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(target):
            if target.exists():
                return target
            # What an interrupted download received stays in this folder, and is resumed.
            partial = target.with_name(f".{target.name}.fetching")
            downloaded = hub.fetch(reference, self.hub_endpoint, folder=partial, kind=kind)
            if mismatches := find_mismatches(entry, downloaded):
                shutil.rmtree(partial)
                raise SourceFailed(f"{'; '.join(mismatches)}. Nothing was kept.")
            shutil.rmtree(partial / ".cache", ignore_errors=True)
            downloaded.replace(target)
            shutil.rmtree(partial, ignore_errors=True)
        return target


def _to_hub(air: Air) -> Hub:
    return Hub(air.id, air.version, air.file)


def _state(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "changed": stat.st_mtime_ns}
