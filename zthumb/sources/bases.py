"""Bases by whatever names them: always a folder in the diffusers layout, made of what was named if it is none."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import atomic_directory, read_json
from foundation.hashing import hash_value
from zthumb import families
from zthumb.families.base import Family
from zthumb.sources import catalogue, kinds, single_file
from zthumb.sources.download import alone
from zthumb.sources.local import INDEX, family_of, parts_of
from zthumb.sources.progress import bars
from zthumb.sources.reference import Hub, Local, Named, Reference, parse
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
    check_base(reference)
    base = _whole(resolver.path(reference), resolver)
    return base if vae is None else _with_autoencoder(base, resolver.path(vae, kinds.AUTOENCODER), resolver.models)


def check_base(reference: str) -> None:
    """Refuse what names no base that is here or could be fetched, as far as that is known without asking anybody."""
    named = parse(reference)
    if isinstance(named, Local) and not named.path.expanduser().exists():
        raise BadInput(_advice(named.path))
    check(named)


def check(named: Reference) -> None:
    """The same of any model."""
    if isinstance(named, Local) and not named.path.expanduser().exists():
        raise BadInput(f"{named}: nothing is there.")
    if isinstance(named, Named):
        catalogue.entry(named.name)


def _whole(path: Path, resolver: Resolver) -> Path:
    if (path / INDEX).is_file():
        return path
    if path.is_dir():
        raise BadInput(f"{path}: no base model is there: a folder in the diffusers layout has a {INDEX}.")
    return single_file.convert_single_file(
        path, resolver.models, list(_known(resolver.folders)), lambda base: _rest(base, resolver)
    )


def _known(folders: Sequence[Path]) -> Iterator[Path]:
    """The best known base of every family, of which the configuration alone is here, then the bases that are here.

    In that order: a neighbour of the same shapes may be of another resolution or schedule.
    """
    yield from _references()
    yield from (folder for folder in _neighbours(folders) if _is_supported(folder))


def _references() -> list[Path]:
    return [families.get(name).reference for name in families.names()]


def _neighbours(folders: Sequence[Path]) -> list[Path]:
    return [index.parent for models in folders for index in sorted(models.glob(f"*/{INDEX}"))]


def _is_supported(folder: Path) -> bool:
    try:
        family = families.get(family_of(folder))
        return all((folder / part / _CONFIGURATION).is_file() for part in family.single_file)
    except (BadInput, ValueError, OSError):
        return False


def _rest(base: Path, resolver: Resolver) -> dict[str, Path]:
    """The parts of a known base that no single file has, by name; of a reference the tokenizers are looked for, or fetched."""
    family = families.get(family_of(base))
    rest = {part: base / part for part in read_json(base / INDEX) if part not in family.single_file and (base / part).is_dir()}
    tokenizers = [part for part in family.text_components if part not in family.single_file and part not in rest]
    if tokenizers:
        # A neighbour whose encoders read as many words has them too.
        near = (folder for folder in _neighbours(resolver.folders) if _reads_alike(folder, base, family, tokenizers))
        source = next(near, None) or resolver.path(_published(base), kinds.WITHOUT_WEIGHTS)
        rest |= {part: source / part for part in tokenizers}
    return rest


def _reads_alike(folder: Path, base: Path, family: Family, tokenizers: Sequence[str]) -> bool:
    def words(each: Path) -> list[int]:
        return [family.configuration(each, part)["vocab_size"] for part in family.text_components if part in family.single_file]

    return _is_supported(folder) and all((folder / part).is_dir() for part in tokenizers) and words(folder) == words(base)


def _published(base: Path) -> str:
    """The repository of a known base that the catalogue has."""
    named = parse(catalogue.entry(catalogue.named_as(base.name)).reference)
    assert isinstance(named, Hub), "a family's reference is on the hub"
    return str(Hub(named.repository, named.revision))


def _with_autoencoder(base: Path, vae: Path, models: Path) -> Path:
    """A folder of links to the parts of ``base``, and another autoencoder."""
    if not (vae.is_file() or kinds.AUTOENCODER.is_whole(vae)):
        raise BadInput(
            f"{vae}: no autoencoder is there: a {single_file.ENDING} file, or a folder with {_CONFIGURATION} and weights."
        )
    family = families.get(family_of(base))
    (part,) = family.image_components
    mark = hash_value([str(base.resolve()), str(vae.resolve()), vae.stat().st_mtime_ns])
    target = models / "unpacked" / f"{base.name}-with-{vae.stem}-{mark[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target):
        if not (target / INDEX).is_file():
            with atomic_directory(target) as made:
                for other in (base / INDEX, *(base / name for name in parts_of(base) if name != part)):
                    (made / other.name).symlink_to(os.path.relpath(other.resolve(), target.resolve()))
                if vae.is_file():
                    single_file.convert_single_file_autoencoder(vae, base, made / part)
                else:
                    (made / part).symlink_to(os.path.relpath(vae.resolve(), target.resolve()))
    return target


def _advice(path: Path) -> str:
    if path.name == "mini-sdxl":
        return f"{path}: the embedded base is not there. Run `make mini_base`, or `git checkout -- {path}` if it was deleted."
    return (
        f"{path}: no base model is there. Put one there, as a folder in the diffusers layout or a {single_file.ENDING}, or name "
        "another: SDXL base 1.0 is `sdxl-base-1.0`, which `python -m zthumb.scripts.download_models sdxl-base-1.0` fetches."
    )
