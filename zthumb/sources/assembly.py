"""A base put together from files of single components, as ComfyUI's users have them: transformer, text encoders, autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput
from foundation.files import atomic_directory
from zthumb import families
from zthumb.checkpoints.gguf.text_encoder import GgufTextEncoder
from zthumb.checkpoints.single_file import ENDING, SingleFile
from zthumb.families.base import ModelFamily
from zthumb.sources import bases, catalogue, conversion
from zthumb.sources.component_files import TensorFile, component_of, recognize_component, write_component_file
from zthumb.sources.local import INDEX, family_of
from zthumb.sources.resolve import Resolver

_GGUF = ".gguf"


def assemble(reference: str, files: Sequence[Path], out: Path, resolver: Resolver) -> dict[str, Path]:
    """Write a base like the one that ``reference`` names to the folder ``out``, with the components in ``files``.

    Which component a file is, is known by its tensors. What no file has is the base's own: from this disk, or downloaded. Returns
    the file of each component. Raises ``BadInput`` for a file that is no component, or a second one of it.
    """
    here = resolver.here(reference)
    known = bases.find_configuration(reference) if reference in catalogue.entries() else None
    base = here if here is not None and (here / INDEX).is_file() else known or bases.find_base(reference, resolver=resolver)
    family = families.get(family_of(base))
    found = _recognize(files, base, family)
    if family.denoiser_component not in found and base == known:
        # Another base that is configured alike may be a fine-tune of it.
        base = bases.find_base(reference, resolver=resolver)
    missing = [name for name in family.single_file if name not in found]
    others = bases.other_components(base, missing, resolver)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_directory(out) as temporary:
        for name, file in found.items():
            write_component_file(file, base, name, temporary / name)
        conversion.write_others(base, others, temporary, {})
    return {name: file.path for name, file in found.items()}


def _recognize(files: Sequence[Path], base: Path, family: ModelFamily) -> dict[str, TensorFile]:
    found = dict[str, TensorFile]()
    for path in files:
        _check(path)
        missing = [name for name in family.single_file if name not in found]
        if not missing:
            raise BadInput(f"{path}: {base.name} has no further component: {', '.join(found)} are in other files.")
        if path.suffix != _GGUF:
            file: TensorFile = SingleFile.read(path)
            found[recognize_component(file, base, missing)] = file
            continue
        name, file = _open_gguf(path, base, family, [name for name in missing if name in family.text_components])
        found[name] = file
    return found


def _check(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    if path.suffix not in (ENDING, _GGUF):
        raise BadInput(f"{path}: a component is a {ENDING} file, or, if it is a text encoder, a {_GGUF} file.")


def _open_gguf(path: Path, base: Path, family: ModelFamily, names: Sequence[str]) -> tuple[str, TensorFile]:
    """The text encoder in a GGUF file, one of those called ``names``."""
    reasons = []
    for name in names:
        keys = component_of(family, base, name).checkpoint_keys.values()
        file = GgufTextEncoder.read(path, [key.name for key in keys])
        try:
            return recognize_component(file, base, [name]), file
        except BadInput as error:
            reasons.append(str(error))
    raise BadInput(reasons[0] if reasons else f"{path}: no text encoder of {base.name} is missing.")
