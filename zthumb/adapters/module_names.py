"""Map the names that programs give the modules of an adapter to the modules of the base."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zthumb.adapters.module_shapes import ModuleShapes

_PEFT_PREFIX = "base_model.model."
_COMPONENTS = ("unet.", "text_encoder.", "text_encoder_2.")
_UNET = ("model.diffusion_model.", "diffusion_model.")
"""Prefixes of the denoiser's original names: in single-file checkpoints, and in ComfyUI's files."""

_TEXT_ENCODERS = (
    ("text_encoder.", ("text_encoders.clip_l.transformer.", "clip_l.transformer.", "text_encoders.clip_l.", "clip_l.")),
    ("text_encoder.", ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "te1.", "text_encoder_1.")),
    ("text_encoder_2.", ("text_encoders.clip_g.transformer.", "clip_g.transformer.", "text_encoders.clip_g.", "clip_g.", "te2.")),
)
_LYCORIS = "lycoris_"
_KOHYA = "lora_"
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")


def path_of(stem: str, base: ModuleShapes) -> str | None:
    """Return the path of the module that ``stem``, a name in a file, stands for; None if the base has no such module."""
    stem = stem.removeprefix(_PEFT_PREFIX)
    return next((path for name in _candidates(stem) if (path := _path_in_base(name, base)) is not None), None)


def _candidates(stem: str) -> Iterator[str]:
    """Yield the possible meanings of a name, as diffusers' path or kohya's name, the likeliest first."""
    for prefix in _UNET:
        if stem.startswith(prefix):
            yield f"{_KOHYA}unet_{_flatten(stem.removeprefix(prefix))}"
    for component, prefixes in _TEXT_ENCODERS:
        for prefix in prefixes:
            if stem.startswith(prefix):
                yield component + stem.removeprefix(prefix)
    if stem.startswith(_LYCORIS):
        rest = stem.removeprefix(_LYCORIS)
        # LyCORIS' wrapper puts the same prefix before the modules of any component.
        yield from (f"{_KOHYA}{component}_{_flatten(rest)}" for component in ("unet", "te1", "te2"))
        yield f"{_KOHYA}{_flatten(rest)}"
    if stem.startswith(_KOHYA):
        yield _flatten(stem)
        if stem.startswith(f"{_KOHYA}te_"):
            yield _flatten(stem).replace(f"{_KOHYA}te_", f"{_KOHYA}te1_", 1)
        return
    path = _OLD_ATTENTION.sub(lambda match: "." + ("to_out.0" if match[1] == "to_out" else match[1]), stem)
    yield path if path.startswith(_COMPONENTS) else f"unet.{path}"
    # Original names without a prefix.
    yield f"{_KOHYA}unet_{_flatten(path.removeprefix('unet.'))}"


def _path_in_base(name: str, base: ModuleShapes) -> str | None:
    if name.startswith(_KOHYA):
        return base.kohya_names.get(name)
    component, _, module = name.partition(".")
    paths = (name, f"{component}.text_model.{module}")
    return next((path for path in paths if path in base.shapes or path in base.norms), None)


def _flatten(name: str) -> str:
    return name.replace(".", "_")
