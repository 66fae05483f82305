"""Repositories of the hub, fetched through ``huggingface_hub``: whole models in the diffusers layout, or one file."""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.download import ROOM
from zthumb.sources.kinds import MODEL, Kind
from zthumb.sources.reference import Hub

TOKENS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN")


def fetch(
    hub: Hub, endpoint: str | None = None, cache: Path | None = None, folder: Path | None = None, kind: Kind = MODEL
) -> Path:
    """The folder of a repository, or the file in it that ``hub`` names, in the hub's cache; what is there is not fetched again.

    Of a repository the files of its ``kind`` are taken. With a ``folder`` they are put there and not into the cache. ``endpoint``
    is another hub than the usual one, as HF_ENDPOINT names it. Offline (HF_HUB_OFFLINE) only what is there is found. Raises
    ``BadInput`` for what is not there, may not be fetched or does not fit on the disk, ``SourceFailed`` when the hub fails.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _fetched(hub, endpoint, cache, folder, kind)
    except GatedRepoError:
        raise BadInput(_gated(hub)) from None
    except LocalEntryNotFoundError as error:
        raise _missing(hub, error) from None
    except HfHubHTTPError as error:
        raise _refused(hub, error) from None
    except HFValidationError as error:
        raise BadInput(f"{hub}: {error}") from None
    except (BadInput, SourceFailed):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Whatever the library and those below it raise when a line breaks; what came is gone on with.
        raise SourceFailed(f"{hub}: could not be fetched ({type(error).__name__}); ask again to go on.") from None


def _fetched(hub: Hub, endpoint: str | None, cache: Path | None, folder: Path | None, kind: Kind) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode
    from huggingface_hub.errors import DryRunError

    how: dict[str, Any] = {"revision": hub.revision, "endpoint": endpoint, "cache_dir": cache, "local_dir": folder}
    how["token"] = token() or False
    which: dict[str, Any] = {"allow_patterns": list(kind.wanted), "ignore_patterns": list(kind.unwanted)}
    if not is_offline_mode():
        planned = list[Any]()
        # What the hub refuses is told by the fetch itself.
        with contextlib.suppress(DryRunError):
            if hub.file is not None:
                planned.append(hf_hub_download(hub.repository, hub.file, dry_run=True, **how))
            else:
                planned += snapshot_download(hub.repository, dry_run=True, **{**which, **how})
        left = sum(file.file_size for file in planned if file.will_download)
        _check_size(hub, left, Path(folder or cache or HF_HUB_CACHE), kind)
    if hub.file is not None:
        return Path(hf_hub_download(hub.repository, hub.file, **how))
    found = Path(snapshot_download(hub.repository, **{**which, **how}))
    if not kind.is_whole(found):
        raise BadInput(f"{hub}: has not all that is looked for, or in another form: {', '.join(kind.wanted)}.")
    return found


def _check_size(hub: Hub, left: int, folder: Path, kind: Kind) -> None:
    if left > kind.most_bytes:
        raise BadInput(f"{hub}: {left} bytes are more than {kind.most_bytes}, the most that is fetched.")
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if left + ROOM > free:
        raise BadInput(f"{hub}: {left} bytes are still to come and {free} are free below {there}. Make room and try again.")


def here(hub: Hub, cache: Path | None = None, kind: Kind = MODEL) -> Path | None:
    """What ``fetch`` would give, if the cache has all of it; the hub is not asked."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    try:
        if hub.file is not None:
            found = try_to_load_from_cache(hub.repository, hub.file, cache_dir=cache, revision=hub.revision)
            return Path(found) if isinstance(found, str) else None
        folder = Path(snapshot_download(hub.repository, revision=hub.revision, cache_dir=cache, local_files_only=True))
    except (OSError, ValueError):  # nothing of it is there, or it is no name
        return None
    return folder if kind.is_whole(folder) else None


def cache_folder(told: Path | None) -> Path:
    """Where repositories lie: as ``told``, or as the hub's library has it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return told or Path(HF_HUB_CACHE)


def token() -> str | None:
    """The login for the hub, if the environment has one."""
    return next((os.environ[name] for name in TOKENS if os.environ.get(name)), None)


def _gated(hub: Hub) -> str:
    page = f"https://huggingface.co/{hub.repository}"
    return f"{hub}: its licence must be accepted on {page} while logged in; then set HF_TOKEN to a token of that account."


def _missing(hub: Hub, error: Exception) -> BadInput | SourceFailed:
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError

    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _refused(hub, cause)
    if is_offline_mode():
        return BadInput(f"{hub}: is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it.")
    return SourceFailed(f"{hub}: the hub does not answer ({type(cause or error).__name__}).")


def _refused(hub: Hub, error: Any) -> BadInput | SourceFailed:
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code if error.response is not None else 0
    if isinstance(error, EntryNotFoundError):
        return BadInput(f"{hub}: the repository has no file {hub.file!r}.")
    if isinstance(error, RevisionNotFoundError):
        return BadInput(f"{hub}: the repository has no revision {hub.revision!r}.")
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        login = "" if token() else ", or it is private and takes a login: set HF_TOKEN"
        return BadInput(f"{hub}: there is no such repository{login}.")
    if status == 429:
        return SourceFailed(f"{hub}: the hub has had enough questions for now (429); try again in a while.")
    return SourceFailed(f"{hub}: the hub fails ({status or error}).")
