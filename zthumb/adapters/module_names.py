"""The names that programs give the modules of an adapter, and the module of the base that each means."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zthumb.adapters.module_shapes import ModuleShapes

PEFT = "base_model.model."
_PARTS = ("unet.", "text_encoder.", "text_encoder_2.")
_UNET = ("model.diffusion_model.", "diffusion_model.")
"""What stands before the original names of the denoiser: ComfyUI's, and those of whole checkpoints."""

_TEXT_ENCODERS = (
    ("text_encoder.", ("text_encoders.clip_l.transformer.", "clip_l.transformer.", "text_encoders.clip_l.", "clip_l.")),
    ("text_encoder.", ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "te1.", "text_encoder_1.")),
    ("text_encoder_2.", ("text_encoders.clip_g.transformer.", "clip_g.transformer.", "text_encoders.clip_g.", "clip_g.", "te2.")),
)
_LYCORIS = "lycoris_"
_KOHYA = "lora_"
_OLD_ATTENTION = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")


def path_of(stem: str, base: ModuleShapes) -> str | None:
    """The path of the module that a name in a file stands for; None where the base has none."""
    stem = stem.removeprefix(PEFT)
    return next((found for each in _candidates(stem) if (found := _in_base(each, base)) is not None), None)


def _candidates(stem: str) -> Iterator[str]:
    """What a name may mean, as diffusers' path or kohya's name, the likeliest first."""
    for prefix in _UNET:
        if stem.startswith(prefix):
            yield f"{_KOHYA}unet_{_flat(stem.removeprefix(prefix))}"
    for part, prefixes in _TEXT_ENCODERS:
        for prefix in prefixes:
            if stem.startswith(prefix):
                yield part + stem.removeprefix(prefix)
    if stem.startswith(_LYCORIS):
        rest = stem.removeprefix(_LYCORIS)
        # LyCORIS' wrapper puts one beginning before whatever module it was given.
        yield from (f"{_KOHYA}{part}_{_flat(rest)}" for part in ("unet", "te1", "te2"))
        yield f"{_KOHYA}{_flat(rest)}"
    if stem.startswith(_KOHYA):
        yield _flat(stem)
        if stem.startswith(f"{_KOHYA}te_"):
            yield _flat(stem).replace(f"{_KOHYA}te_", f"{_KOHYA}te1_", 1)
        return
    old = _OLD_ATTENTION.sub(lambda found: "." + ("to_out.0" if found[1] == "to_out" else found[1]), stem)
    yield old if old.startswith(_PARTS) else f"unet.{old}"
    # Original names without anything before them.
    yield f"{_KOHYA}unet_{_flat(old.removeprefix('unet.'))}"


def _in_base(name: str, base: ModuleShapes) -> str | None:
    if name.startswith(_KOHYA):
        return base.kohya_names.get(name)
    part, _, module = name.partition(".")
    there = (name, f"{part}.text_model.{module}")
    return next((path for path in there if path in base.shapes or path in base.norms), None)


def _flat(name: str) -> str:
    return name.replace(".", "_")
