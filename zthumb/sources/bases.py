"""Bases by whatever names them: always a folder in the diffusers layout, made of what was named if it is none."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import whole_folder
from foundation.hashing import hash_value
from zthumb import families
from zthumb.sources import catalogue, hub, single_file
from zthumb.sources.local import INDEX, family_of, parts_of
from zthumb.sources.progress import bars
from zthumb.sources.reference import Hub, Local, Named, parse
from zthumb.sources.resolve import Resolver

_CONFIGURATION = "config.json"


def find_base(reference: str, vae: str | None = None, resolver: Resolver | None = None) -> Path:
    """The folder of the base that ``reference`` names, with the autoencoder that ``vae`` names in place of its own if given.

    It is fetched if need be, and laid out if it is one file. ``BadInput`` says how to get one that is not there, or why what is
    there is none; ``SourceFailed`` that it could not be fetched.
    """
    if resolver is None:
        with bars() as watch:
            return find_base(reference, vae, Resolver(watch=watch))
    check_name(reference)
    base = _whole(resolver.path(reference), resolver)
    return base if vae is None else _with_autoencoder(base, resolver.path(vae), resolver.models)


def check_name(reference: str) -> None:
    """Refuse what names no base that is here or could be fetched, as far as that is known without asking anybody."""
    named = parse(reference)
    if isinstance(named, Local) and not named.path.expanduser().exists():
        raise BadInput(_advice(named.path))
    if isinstance(named, Named):
        catalogue.entry(named.name)


def _whole(path: Path, resolver: Resolver) -> Path:
    if (path / INDEX).is_file():
        return path
    if path.is_dir():
        raise BadInput(f"{path}: no base model is there: a folder in the diffusers layout has a {INDEX}.")
    return single_file.lay_out(path, resolver.models, list(_known(resolver.folders)), lambda base: _completed(base, resolver))


def _known(folders: Sequence[Path]) -> Iterator[Path]:
    """The bases that are here, then the best known one of every family, of which the configuration alone is here."""
    here = [index.parent for models in folders for index in sorted(models.glob(f"*/{INDEX}"))]
    yield from (folder for folder in here if _is_supported(folder))
    yield from (families.get(name).reference for name in families.names())


def _is_supported(folder: Path) -> bool:
    try:
        family = families.get(family_of(folder))
        return all((folder / part / _CONFIGURATION).is_file() for part in family.single_file)
    except (BadInput, ValueError, OSError):
        return False


def _completed(base: Path, resolver: Resolver) -> Path:
    """The folder of a known base with all but its weights: of a family's reference that is fetched, a few small files."""
    if base not in [families.get(name).reference for name in families.names()]:
        return base
    repository = catalogue.published_as(base.name)
    return hub.fetch(Hub(repository), resolver.hub_endpoint, resolver.hub_cache, wanted=hub.WITHOUT_WEIGHTS)


def _with_autoencoder(base: Path, vae: Path, models: Path) -> Path:
    """A folder of links to the parts of ``base``, and another autoencoder."""
    family = families.get(family_of(base))
    (part,) = family.picture_parts
    mark = hash_value([str(base.resolve()), str(vae.resolve()), vae.stat().st_mtime_ns])
    target = models / "unpacked" / f"{base.name}-with-{vae.stem}-{mark[:12]}"
    if (target / INDEX).is_file():
        return target
    with whole_folder(target) as made:
        for other in (base / INDEX, *(base / name for name in parts_of(base) if name != part)):
            (made / other.name).symlink_to(os.path.relpath(other.resolve(), target.resolve()))
        if (vae / _CONFIGURATION).is_file():
            (made / part).symlink_to(os.path.relpath(vae.resolve(), target.resolve()))
        elif vae.is_file():
            single_file.lay_out_autoencoder(vae, base, made / part)
        else:
            raise BadInput(f"{vae}: no autoencoder is there: a {single_file.ENDING} file, or a folder with {_CONFIGURATION}.")
    return target


def _advice(path: Path) -> str:
    if path.name == "mini-sdxl":
        return f"{path}: the embedded base is not there. Run `make mini_base`, or `git checkout -- {path}` if it was deleted."
    return (
        f"{path}: no base model is there. Put one there, as a folder in the diffusers layout or a {single_file.ENDING}, or name "
        "another: SDXL base 1.0 is `sdxl-base-1.0`, which `python -m zthumb.scripts.download_models sdxl-base-1.0` fetches."
    )
