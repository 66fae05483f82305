"""An adapter's file that a page sends: it is beside the others once it is complete and known to be an adapter."""

import functools
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from foundation.errors import BadInput
from foundation.hashing import hash_file
from zthumb.adapters.fitting_base import recognize
from zthumb.adapters.library import FOLDER
from zthumb.server.queue.download_guard import run_in_thread

_PREFIX, _DAY_S = ".upload-", 86_400
_NAME = re.compile(r"[\w][\w .()+-]{0,120}\.safetensors")


async def receive(chunks: AsyncIterator[bytes], models_folder: Path, file: str) -> Path:
    """Write the adapter ``file`` to the models folder and return its path.

    Raises ``BadInput``, and leaves nothing, for a name that is none, a file that is no adapter for a base that is known, and for
    another adapter under a name that is taken; the same file again is no mistake.
    """
    if not _NAME.fullmatch(file):
        raise BadInput(
            f"{file}: is no name for an adapter here: it ends with .safetensors, and has letters, digits, spaces and . - _"
        )
    target = models_folder / FOLDER / file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under its own name, of which its format is told; in a folder that is not searched for adapters.
        remove_what_was_cut_off(models_folder)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=models_folder) as folder:
            complete = Path(folder) / file
            with complete.open("wb") as written:
                async for chunk in chunks:
                    await run_in_thread(functools.partial(written.write, chunk))
                # Under its own name it is complete, whatever happens to the machine.
                written.flush()
                await run_in_thread(lambda: os.fsync(written.fileno()))
            await run_in_thread(lambda: _check(complete, target))
            complete.replace(target)
    except OSError as error:
        raise BadInput(f"{file}: cannot be kept, because {models_folder} cannot be written to ({error.strerror}).") from None
    return target


def remove_what_was_cut_off(models_folder: Path) -> None:
    """Delete what is left of uploads that ended with their server, a day ago at least."""
    for folder in models_folder.glob(f"{_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _DAY_S:
            shutil.rmtree(folder, ignore_errors=True)


def _check(complete: Path, target: Path) -> None:
    try:
        recognize(complete)
    except BadInput as error:
        raise BadInput(str(error).replace(f"{complete.parent}/", "")) from None
    if target.exists() and hash_file(target) != hash_file(complete):
        raise BadInput(f"{target.name}: there is another adapter of that name. Give it another one.")
