"""Map the names that programs give the modules of an adapter to the modules of the base."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zthumb.adapters.module_shapes import ModuleShapes, Place
from zthumb.checkpoints.checkpoint_key import CheckpointKey, Rows

_PEFT_PREFIX = "base_model.model."
_LYCORIS = "lycoris_"
_KOHYA = "lora_"
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")

Found = tuple[Place, ...]


def places_of(stem: str, base: ModuleShapes) -> Found:
    """Return the modules that ``stem``, a name in a file, stands for; none if the base has no such module.

    Several are modules whose projections the file has as one, from its first row to its last.
    """
    stem = stem.removeprefix(_PEFT_PREFIX)
    return next(filter(None, _candidates(stem, base)), ())


def _candidates(stem: str, base: ModuleShapes) -> Iterator[Found]:
    """Yield the modules that a name may stand for, the likeliest first; none where the base has no such module."""
    family = base.family
    for component, prefixes in family.module_prefixes.items():
        for prefix in prefixes:
            if stem.startswith(prefix):
                rest = stem.removeprefix(prefix)
                if component == family.denoiser_component:
                    yield _original(rest, base)
                yield _path(f"{component}.{rest}", base)
    if stem.startswith(_LYCORIS):
        rest = _flatten(stem.removeprefix(_LYCORIS))
        # LyCORIS' wrapper puts the same prefix before the modules of any component.
        yield from (base.kohya_names.get(f"{prefix}{rest}", ()) for prefix in family.lora_prefixes.values())
        yield base.kohya_names.get(f"{_KOHYA}{rest}", ())
    if stem.startswith(_KOHYA):
        name = _flatten(stem)
        yield base.kohya_names.get(name, ())
        for prefix, meant in family.other_lora_prefixes.items():
            if name.startswith(prefix):
                yield base.kohya_names.get(name.replace(prefix, meant, 1), ())
        yield _original(name.removeprefix(family.lora_prefixes[family.denoiser_component]), base)
        return
    path = _OLD_ATTENTION.sub(lambda match: "." + ("to_out.0" if match[1] == "to_out" else match[1]), stem)
    denoiser = f"{family.denoiser_component}."
    is_complete = path.startswith(tuple(f"{component}." for component in family.adapted_components))
    yield _path(path if is_complete else denoiser + path, base)
    # Original names without a prefix.
    yield _original(path.removeprefix(denoiser), base)
    yield _others(stem, base)


def _path(path: str, base: ModuleShapes) -> Found:
    component, _, module = path.partition(".")
    candidates = (path, f"{component}.{base.family.file_path(component, module)}")
    return next(
        ((Place(known, CheckpointKey(known)),) for known in candidates if known in base.shapes or known in base.norms), ()
    )


def _others(stem: str, base: ModuleShapes) -> Found:
    """Names of a program's own, with or without the prefix of the denoiser's modules."""
    family = base.family
    prefix = next((prefix for prefix in family.module_prefixes[family.denoiser_component] if stem.startswith(prefix)), "")
    modules = family.other_modules(stem.removeprefix(prefix))
    paths = [f"{family.denoiser_component}.{module}" for module in modules]
    if not all(path in base.shapes for path in paths):
        return ()
    if len(paths) == 1:
        return (Place(paths[0], CheckpointKey(paths[0])),)
    return tuple(Place(path, CheckpointKey(stem, Rows(part, part + 1, len(paths)))) for part, path in enumerate(paths))


def _original(name: str, base: ModuleShapes) -> Found:
    return base.original_names.get(_flatten(name), ())


def _flatten(name: str) -> str:
    return name.replace(".", "_")
