"""Repositories of the Hugging Face hub, through ``huggingface_hub``: whole models in the diffusers layout, or single files."""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.download import DISK_RESERVE
from zthumb.sources.kinds import MODEL, Kind
from zthumb.sources.reference import Hub

TOKENS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN")


def fetch(
    hub: Hub, endpoint: str | None = None, cache: Path | None = None, folder: Path | None = None, kind: Kind = MODEL
) -> Path:
    """Return the folder of a repository, or the file of it that ``hub`` names, in the hub's cache; missing files are downloaded.

    Of a repository only the files of its ``kind`` are downloaded. With a ``folder`` they go there instead of the cache.
    ``endpoint`` is another hub than the default one, as HF_ENDPOINT sets it. Offline (HF_HUB_OFFLINE) only the cache is used.
    Raises ``BadInput`` for what does not exist, may not be downloaded or does not fit on the disk, ``SourceFailed`` when the hub
    fails.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _download(hub, endpoint, cache, folder, kind)
    except GatedRepoError:
        raise BadInput(_gated_message(hub)) from None
    except LocalEntryNotFoundError as error:
        raise _not_in_cache_error(hub, error) from None
    except HfHubHTTPError as error:
        raise _http_error(hub, error) from None
    except HFValidationError as error:
        raise BadInput(f"{hub}: {error}") from None
    except (BadInput, SourceFailed):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Whatever the library and those below it raise when a connection breaks; what was received is resumed.
        raise SourceFailed(f"{hub}: could not be downloaded ({type(error).__name__}); try again to resume.") from None


def _download(hub: Hub, endpoint: str | None, cache: Path | None, folder: Path | None, kind: Kind) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode
    from huggingface_hub.errors import DryRunError

    options: dict[str, Any] = {"revision": hub.revision, "endpoint": endpoint, "cache_dir": cache, "local_dir": folder}
    options["token"] = token() or False
    patterns: dict[str, Any] = {"allow_patterns": list(kind.allow_patterns), "ignore_patterns": list(kind.ignore_patterns)}
    if not is_offline_mode():
        planned = list[Any]()
        # If the hub refuses the dry run, the download itself reports why.
        with contextlib.suppress(DryRunError):
            if hub.file is not None:
                planned.append(hf_hub_download(hub.repository, hub.file, dry_run=True, **options))
            else:
                planned += snapshot_download(hub.repository, dry_run=True, **{**patterns, **options})
        missing_bytes = sum(file.file_size for file in planned if file.will_download)
        _check_size(hub, missing_bytes, Path(folder or cache or HF_HUB_CACHE), kind)
    if hub.file is not None:
        return Path(hf_hub_download(hub.repository, hub.file, **options))
    downloaded = Path(snapshot_download(hub.repository, **{**patterns, **options}))
    if not kind.is_complete(downloaded):
        raise BadInput(f"{hub}: lacks some of the needed files, or has them in another format: {', '.join(kind.allow_patterns)}.")
    return downloaded


def _check_size(hub: Hub, missing_bytes: int, folder: Path, kind: Kind) -> None:
    if missing_bytes > kind.max_bytes:
        raise BadInput(f"{hub}: {missing_bytes} bytes are more than the limit of {kind.max_bytes}.")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if missing_bytes + DISK_RESERVE > free:
        raise BadInput(
            f"{hub}: {missing_bytes} bytes are missing and {free} are free below {existing}. Free disk space and try again."
        )


def cached(hub: Hub, cache: Path | None = None, kind: Kind = MODEL) -> Path | None:
    """Return what ``fetch`` would return, if the cache has all of it; without any request to the hub."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    try:
        if hub.file is not None:
            path = try_to_load_from_cache(hub.repository, hub.file, cache_dir=cache, revision=hub.revision)
            return Path(path) if isinstance(path, str) else None
        folder = Path(snapshot_download(hub.repository, revision=hub.revision, cache_dir=cache, local_files_only=True))
    except (OSError, ValueError):  # nothing of it is cached, or the name is not valid
        return None
    return folder if kind.is_complete(folder) else None


def cache_folder(override: Path | None) -> Path:
    """Return where repositories are cached: ``override``, or the default of the hub's library."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return override or Path(HF_HUB_CACHE)


def token() -> str | None:
    """Return the access token for the hub, if the environment has one."""
    return next((os.environ[name] for name in TOKENS if os.environ.get(name)), None)


def _gated_message(hub: Hub) -> str:
    page = f"https://huggingface.co/{hub.repository}"
    return f"{hub}: its licence must be accepted on {page} while logged in; then set HF_TOKEN to a token of that account."


def _not_in_cache_error(hub: Hub, error: Exception) -> BadInput | SourceFailed:
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError

    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _http_error(hub, cause)
    if is_offline_mode():
        return BadInput(f"{hub}: is not in the hub's cache, and HF_HUB_OFFLINE forbids downloading it.")
    return SourceFailed(f"{hub}: the hub does not answer ({type(cause or error).__name__}).")


def _http_error(hub: Hub, error: Any) -> BadInput | SourceFailed:
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code if error.response is not None else 0
    if isinstance(error, EntryNotFoundError):
        return BadInput(f"{hub}: the repository has no file {hub.file!r}.")
    if isinstance(error, RevisionNotFoundError):
        return BadInput(f"{hub}: the repository has no revision {hub.revision!r}.")
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        login = "" if token() else ", or it is private and needs a login: set HF_TOKEN"
        return BadInput(f"{hub}: there is no such repository{login}.")
    if status == 429:
        return SourceFailed(f"{hub}: the hub refuses further requests for now (429); try again later.")
    return SourceFailed(f"{hub}: the hub fails ({status or error}).")
