"""Base models by any kind of reference: always a folder in the diffusers layout, converted from a single file if need be."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foundation.errors import BadInput
from foundation.files import atomic_directory, read_json
from foundation.hashing import hash_value
from zthumb import families
from zthumb.checkpoints.single_file import ENDING, SingleFile
from zthumb.families.base import PROJECTED_WIDTH, ModelFamily
from zthumb.sources import catalogue, conversion, kinds
from zthumb.sources.component_files import write_component_file
from zthumb.sources.download import file_lock
from zthumb.sources.local import INDEX, components_of, family_of
from zthumb.sources.progress import bars
from zthumb.sources.reference import Hub, Local, Named, Reference, parse
from zthumb.sources.resolve import Resolver

_CONFIGURATION = "config.json"
_SCALING_FACTOR = 0.18215
"""Of an ``AutoencoderKL`` whose configuration does not say it."""


def find_base(reference: str, vae: str | None = None, resolver: Resolver | None = None, text_encoder: str | None = None) -> Path:
    """Return the folder of the base that ``reference`` names, with the autoencoder that ``vae`` names, if any.

    ``text_encoder`` names one that was distilled from the base's large one, whose place it takes. The base is downloaded if need
    be, and converted if it is a single file. Raises ``BadInput`` that says how to get a missing base or why the file or folder
    is not a base, ``SourceFailed`` if it could not be downloaded.
    """
    if resolver is None:
        with bars() as on_progress:
            return find_base(reference, vae, Resolver(watch=on_progress), text_encoder)
    check_base(reference)
    base = _diffusers_folder(resolver.path(reference), resolver)
    if vae is not None:
        base = _with_autoencoder(base, resolver.path(vae, kinds.AUTOENCODER), resolver.models)
    if text_encoder is not None:
        base = _with_small_text_encoder(base, resolver.path(text_encoder, kinds.TEXT_ENCODER), resolver.models)
    return base


def find_configuration(reference: str) -> Path | None:
    """Return a folder with the configuration of the base that ``reference`` names, before its weights are there.

    It is the base's own folder, or what comes with its family for a published base; None for others.
    """
    if (Path(reference) / INDEX).is_file():
        return Path(reference)
    known = {folder.name: folder for name in families.names() for folder in families.get(name).references}
    return known.get(Path(catalogue.published_as(reference)).name)


def known_configuration(reference: str) -> Path:
    """Return ``find_configuration``; ``BadInput`` that names the bases whose configurations are known if there is none."""
    folder = find_configuration(reference)
    if folder is None:
        known = sorted(name for name in catalogue.entries() if find_configuration(name))
        raise BadInput(f"{reference}: its configuration is not known before it is downloaded; that of {', '.join(known)} is.")
    return folder


def check_base(reference: str) -> None:
    """Raise ``BadInput`` if ``reference`` names no base here or at a source, as far as that is known without network access."""
    parsed = parse(reference)
    if isinstance(parsed, Local) and not parsed.path.expanduser().exists():
        raise BadInput(_advice(parsed.path))
    check(parsed)


def check(reference: Reference) -> None:
    """Do the same as ``check_base`` for a parsed reference to any model."""
    if isinstance(reference, Local) and not reference.path.expanduser().exists():
        raise BadInput(f"{reference}: does not exist.")
    if isinstance(reference, Named):
        catalogue.entry(reference.name)


def _diffusers_folder(path: Path, resolver: Resolver) -> Path:
    if (path / INDEX).is_file():
        return path
    if path.is_dir():
        raise BadInput(f"{path}: is not a base model: a folder in the diffusers layout has a {INDEX}.")
    return conversion.convert_single_file(
        path,
        resolver.models,
        list(_candidates(resolver.folders)),
        lambda base, missing: other_components(base, missing, resolver),
    )


def _candidates(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the reference base of every family, of which only the configuration is here, then the bases on this disk.

    In that order, because a base on this disk with the same shapes may have another resolution or noise schedule.
    """
    yield from _reference_bases()
    yield from (folder for folder in _local_bases(folders) if _is_supported(folder))


def _reference_bases() -> list[Path]:
    return [reference for name in families.names() for reference in families.get(name).references]


def _local_bases(folders: Sequence[Path]) -> list[Path]:
    return [index.parent for models in folders for index in sorted(models.glob(f"*/{INDEX}"))]


def _is_supported(folder: Path) -> bool:
    try:
        family = families.get(family_of(folder))
        return all((folder / component / _CONFIGURATION).is_file() for component in family.single_file)
    except (BadInput, ValueError, OSError):
        return False


def other_components(base: Path, missing: Sequence[str], resolver: Resolver) -> dict[str, Path]:
    """Return by name the folders of the base's components that no single file has, and of those ``missing`` in this one.

    What a reference base has no files of is searched for on this disk, or downloaded.
    """
    family = families.get(family_of(base))
    others = {
        component: base / component
        for component in read_json(base / INDEX)
        if component not in family.single_file and (base / component).is_dir()
    }
    tokenizers = [name for name in family.text_components if name not in family.single_file and name not in others]
    if tokenizers:
        # A local base with the same kinds of text encoders has the same tokenizers.
        matches = (folder for folder in _local_bases(resolver.folders) if _has_same_tokenizers(folder, base, family, tokenizers))
        source = next(matches, None) or resolver.path(_hub_repository(base), kinds.WITHOUT_WEIGHTS)
        others |= {name: source / name for name in tokenizers}
    if missing:
        matches = (folder for folder in [base, *_local_bases(resolver.folders)] if _has_same_weights(folder, base, missing))
        source = next(matches, None) or resolver.path(_hub_repository(base), kinds.MODEL)
        others |= {name: source / name for name in missing}
    return others


def _has_same_weights(folder: Path, base: Path, components: Sequence[str]) -> bool:
    """Return whether a base on this disk has weights of components that are configured as those of ``base``."""
    return _is_supported(folder) and all(
        any((folder / name).glob("*.safetensors")) and _is_configured_as(folder / name, base / name) for name in components
    )


def _is_configured_as(component: Path, reference: Path) -> bool:
    # A reference has the values that matter, a saved component those of its version of diffusers as well.
    values, expected = (read_json(folder / _CONFIGURATION) for folder in (component, reference))
    unimportant = ("_diffusers_version", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures")
    return all(values.get(key, value) == value for key, value in expected.items() if key not in unimportant)


def _has_same_tokenizers(folder: Path, base: Path, family: ModelFamily, tokenizers: Sequence[str]) -> bool:
    # Encoders of one vocabulary may be padded by different tokens; those of one width and activation are of one origin.
    def origins(model: Path) -> list[list[Any]]:
        encoders = [family.configuration(model, name) for name in family.text_components if name in family.single_file]
        # Of a model for images too, the language model has a configuration inside.
        languages = [encoder.get("text_config", encoder) for encoder in encoders]
        return [[language.get(key) for key in ("vocab_size", "hidden_size", "hidden_act")] for language in languages]

    if not (_is_supported(folder) and family_of(folder) == family.name):
        return False
    return all((folder / name).is_dir() for name in tokenizers) and origins(folder) == origins(base)


def _hub_repository(base: Path) -> str:
    """Return the repository of a reference base, from the catalogue."""
    reference = parse(catalogue.entry(catalogue.entry_name(base.name)).reference)
    assert isinstance(reference, Hub), "a family's reference is on the hub"
    return str(Hub(reference.repository, reference.revision))


def _with_autoencoder(base: Path, vae: Path, models: Path) -> Path:
    """Return a folder of links to the components of ``base``, with another autoencoder."""
    if not (vae.is_file() or kinds.AUTOENCODER.is_complete(vae)):
        raise BadInput(f"{vae}: is not an autoencoder: expected a {ENDING} file, or a folder with {_CONFIGURATION} and weights.")
    (autoencoder,) = families.get(family_of(base)).image_components
    _check_scaling(base / autoencoder, vae)
    return _with_component(base, autoencoder, vae, models)


def _with_small_text_encoder(base: Path, encoder: Path, models: Path) -> Path:
    """Return a folder of links to the components of ``base``, with a text encoder that was distilled from its large one."""
    family = families.get(family_of(base))
    name = family.distillable_component
    if name is None:
        possible = " and ".join(other for other in families.names() if families.get(other).distillable_component)
        raise BadInput(
            f"{encoder}: a small text encoder takes the place of a large one of {possible}; {base.name} is {family.name}."
        )
    if not kinds.TEXT_ENCODER.is_complete(encoder):
        raise BadInput(f"{encoder}: is not a text encoder: expected a folder with {_CONFIGURATION} and weights.")
    large, small = (read_json(folder / _CONFIGURATION) for folder in (base / name, encoder))
    expected = {PROJECTED_WIDTH: large["d_model"], "vocab_size": large["vocab_size"]}
    for key, value in expected.items():
        if small.get(key) != value:
            raise BadInput(
                f"{encoder}: was not distilled from the text encoder of {base.name}: its {key} is {small.get(key)}, not {value}."
            )
    return _with_component(base, name, encoder, models)


def _with_component(base: Path, name: str, other: Path, models: Path) -> Path:
    """Return a folder of links to the components of ``base``, with ``other``, a folder or file, in the place of one."""
    digest = hash_value([str(base.resolve()), str(other.resolve()), other.stat().st_mtime_ns])
    target = models / "unpacked" / f"{base.name}-with-{other.stem}-{digest[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(target):
        if not (target / INDEX).is_file():
            with atomic_directory(target) as temporary:
                for path in (base / INDEX, *(base / each for each in components_of(base) if each != name)):
                    (temporary / path.name).symlink_to(os.path.relpath(path.resolve(), target.resolve()))
                if other.is_file():
                    write_component_file(SingleFile.read(other), base, name, temporary / name)
                else:
                    (temporary / name).symlink_to(os.path.relpath(other.resolve(), target.resolve()))
    return target


def _check_scaling(own: Path, vae: Path) -> None:
    """Raise ``BadInput`` if the folder ``vae`` scales latents in another way than the base's ``own`` autoencoder.

    Files of all Stable Diffusion models have the same shapes and do not say it.
    """
    if vae.is_dir():
        factors = [read_json(folder / _CONFIGURATION).get("scaling_factor", _SCALING_FACTOR) for folder in (own, vae)]
        if factors[0] != factors[1]:
            raise BadInput(
                f"{vae}: is an autoencoder of another model: its latents are scaled by {factors[1]}, not {factors[0]}."
            )


def _advice(path: Path) -> str:
    if path.name == "mini-sdxl":
        return f"{path}: the miniature base is missing. Run `make mini_base`, or `git checkout -- {path}` if it was deleted."
    return (
        f"{path}: there is no base model. Put one there, as a folder in the diffusers layout or a {ENDING} file, or "
        "name another: `python -m zthumb.scripts.download_models sdxl-base-1.0` downloads `sdxl-base-1.0`."
    )
