"""Repositories of the hub, fetched through ``huggingface_hub``: whole models in the diffusers layout, or one file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.local import INDEX
from zthumb.sources.reference import Hub

TOKENS = ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN")
WITHOUT_WEIGHTS = ("*.json", "*.txt", "*.model")
WHOLE = (*WITHOUT_WEIGHTS, "model.safetensors", "*/*.safetensors")
"""What a model is of: not the same once more in one file beside its parts, and no weights that may hold programs."""
ADAPTER = ("*.json", "*.safetensors")
"""What an adapter is of."""
_OTHERS = ("*.fp16.safetensors", "*.non_ema.safetensors", "*openvino*", "*onnx*", "*flax*")


def fetch(
    hub: Hub,
    endpoint: str | None = None,
    cache: Path | None = None,
    folder: Path | None = None,
    wanted: Sequence[str] = WHOLE,
) -> Path:
    """The folder of a repository, or the file in it that ``hub`` names, in the hub's cache; what is there is not fetched again.

    Of a repository that is what is ``wanted``. With a ``folder`` it is put there and not into the cache. ``endpoint`` is another
    hub than the usual one, as HF_ENDPOINT names it. Offline (HF_HUB_OFFLINE) only what is there is found. Raises ``BadInput`` for
    what is not there or may not be fetched, ``SourceFailed`` when the hub does not answer.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    how: dict[str, Any] = {"revision": hub.revision, "endpoint": endpoint, "cache_dir": cache, "local_dir": folder}
    how["token"] = token() or False
    try:
        if hub.file is not None:
            return Path(hf_hub_download(hub.repository, hub.file, **how))
        return Path(snapshot_download(hub.repository, allow_patterns=list(wanted), ignore_patterns=list(_OTHERS), **how))
    except GatedRepoError:
        raise BadInput(_gated(hub)) from None
    except LocalEntryNotFoundError as error:
        raise _missing(hub, error) from None
    except HfHubHTTPError as error:
        raise _refused(hub, error) from None
    except HFValidationError as error:
        raise BadInput(f"{hub}: {error}") from None


def is_here(hub: Hub, cache: Path | None = None) -> bool:
    """Whether the cache has the file that ``hub`` names, or, of a whole repository, its index."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub.repository, hub.file or INDEX, cache_dir=cache, revision=hub.revision)
    return isinstance(found, str)


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
