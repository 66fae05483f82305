"""Map the names that programs give the modules of an adapter to the modules of the base."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zthumb.adapters.module_shapes import ModuleShapes

_PEFT_PREFIX = "base_model.model."
_LYCORIS = "lycoris_"
_KOHYA = "lora_"
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")


def path_of(stem: str, base: ModuleShapes) -> str | None:
    """Return the path of the module that ``stem``, a name in a file, stands for; None if the base has no such module."""
    stem = stem.removeprefix(_PEFT_PREFIX)
    return next(filter(None, _candidates(stem, base)), None)


def _candidates(stem: str, base: ModuleShapes) -> Iterator[str | None]:
    """Yield the paths that a name may stand for, the likeliest first; None where the base has no such module."""
    family = base.family
    for component, prefixes in family.module_prefixes.items():
        for prefix in prefixes:
            if stem.startswith(prefix):
                rest = stem.removeprefix(prefix)
                is_denoiser = component == family.denoiser_component
                yield _original(rest, base) if is_denoiser else _path(f"{component}.{rest}", base)
    if stem.startswith(_LYCORIS):
        rest = _flatten(stem.removeprefix(_LYCORIS))
        # LyCORIS' wrapper puts the same prefix before the modules of any component.
        yield from (base.kohya_names.get(f"{prefix}{rest}") for prefix in family.lora_prefixes.values())
        yield base.kohya_names.get(f"{_KOHYA}{rest}")
    if stem.startswith(_KOHYA):
        name = _flatten(stem)
        yield base.kohya_names.get(name)
        for prefix, meant in family.other_lora_prefixes.items():
            if name.startswith(prefix):
                yield base.kohya_names.get(name.replace(prefix, meant, 1))
        yield _original(name.removeprefix(family.lora_prefixes[family.denoiser_component]), base)
        return
    path = _OLD_ATTENTION.sub(lambda match: "." + ("to_out.0" if match[1] == "to_out" else match[1]), stem)
    denoiser = f"{family.denoiser_component}."
    is_complete = path.startswith(tuple(f"{component}." for component in family.adapted_components))
    yield _path(path if is_complete else denoiser + path, base)
    # Original names without a prefix.
    yield _original(path.removeprefix(denoiser), base)


def _path(path: str, base: ModuleShapes) -> str | None:
    component, _, module = path.partition(".")
    candidates = (path, f"{component}.{base.family.file_path(component, module)}")
    return next((candidate for candidate in candidates if candidate in base.shapes or candidate in base.norms), None)


def _original(name: str, base: ModuleShapes) -> str | None:
    return base.original_names.get(_flatten(name))


def _flatten(name: str) -> str:
    return name.replace(".", "_")
