"""Every raw picture opened, looked at and fitted, over several processes."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from foundation.errors import BadInput
from foundation.files import whole_folder
from foundation.hashing import hash_file
from training.data.concept import Concept
from training.data.dataset import PREPARED, Dataset, Entry, LeftOut
from training.data.duplicates import Fingerprint, fingerprint, groups
from training.data.fit import LARGEST_ZOOM, fit
from training.data.picture import BadPicture, open_picture
from training.data.quality import flags
from training.data.raw import RawPicture
from training.recipe import Recipe

PICTURES_PER_WORKER = 16


@dataclass(frozen=True)
class _Prepared:
    entry: Entry
    fingerprint: Fingerprint


def prepare(pictures: Sequence[RawPicture], folder: Path, recipe: Recipe, concept: Concept, skip_bad: bool) -> Dataset:
    """Fit ``pictures`` into ``folder``/prepared, which takes its place only when every one was read, or left out as asked.

    Raises ``BadPicture`` for the first that cannot be used unless bad ones are skipped, ``BadInput`` when none is left.
    """
    workers = max(1, min(os.cpu_count() or 1, len(pictures) // PICTURES_PER_WORKER))
    with whole_folder(folder / PREPARED) as temporary, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        one = partial(_prepare_one, target=temporary, resolution=recipe.resolution, background=concept.background)
        results = list(tqdm(pool.map(one, pictures), desc="prepare", unit="picture", total=len(pictures)))
        done = [result for result in results if isinstance(result, _Prepared)]
        left_out = tuple(result for result in results if isinstance(result, LeftOut))
        if left_out and not skip_bad:
            raise BadPicture(folder / left_out[0].source, left_out[0].reason, others=len(left_out) - 1)
        if not done:
            raise BadInput(f"{folder / 'raw'}: none of the {len(pictures)} pictures can be used.")
    return Dataset(
        trigger=concept.trigger,
        resolution=recipe.resolution,
        entries=tuple(each.entry for each in done),
        left_out=left_out,
        alike=_alike(done),
    )


def _prepare_one(picture: RawPicture, target: Path, resolution: int, background: str) -> _Prepared | LeftOut:
    source = f"raw/{picture.path.name}"
    try:
        opened = open_picture(picture.path, resolution // LARGEST_ZOOM, background)
    except BadPicture as error:
        return LeftOut(source=source, reason=error.reason)
    fitted = fit(opened.picture, resolution)
    path = target / f"{picture.path.stem}.png"
    fitted.picture.save(path)
    entry = Entry(
        file=f"{PREPARED}/{path.name}",
        sha256=hash_file(path),
        source=source,
        source_sha256=hash_file(picture.path),
        caption=picture.caption or "",
        original_size=fitted.original_size,
        crop=fitted.crop,
        notes=picture.notes + opened.notes + flags(fitted.picture),
    )
    return _Prepared(entry, fingerprint(fitted.picture))


def _alike(done: Sequence[_Prepared]) -> tuple[tuple[str, ...], ...]:
    found = groups([each.fingerprint for each in done])
    return tuple(tuple(done[place].entry.source for place in group) for group in found if len(group) > 1)
