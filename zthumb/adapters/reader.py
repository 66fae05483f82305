"""A file of any adapter → the adapter in it, checked against a base before anything is applied.

Understood are kohya's names with the original block names or diffusers' (kohya, ai-toolkit, OneTrainer), LyCORIS', the diffusers
layout of today and before PEFT, ComfyUI's names and those of whole checkpoints, and PEFT's own folders; and of what is changed,
LoRA and DoRA, and every kind in ``zthumb.adapters.kinds``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import BadInput
from foundation.hashing import hash_file, hash_value
from zthumb.adapters import header, kinds, scales, textual_inversion
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.change import Change
from zthumb.adapters.header import Header
from zthumb.adapters.kinds.base import Kind, NotWhole
from zthumb.adapters.module_names import path_of
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.scales import Scales

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]

_DOWN, _UP, _ALPHA, _MAGNITUDE, _LORA_BIAS = "lora_down.weight", "lora_up.weight", "alpha", "magnitude", "lora_bias"
_LORA = (
    (_DOWN, re.compile(r"(?:\.lora_down|\.lora_A(?:\.\w+)?|\.lora\.down|_lora\.down|\.lora_linear_layer\.down)\.weight$")),
    (_UP, re.compile(r"(?:\.lora_up|\.lora_B(?:\.\w+)?|\.lora\.up|_lora\.up|\.lora_linear_layer\.up)\.weight$")),
    (_LORA_BIAS, re.compile(r"(?:\.lora_up|\.lora_B(?:\.\w+)?)\.bias$")),
    (_ALPHA, re.compile(r"\.alpha$")),
    (_MAGNITUDE, re.compile(r"(?:\.dora_scale|\.lora_magnitude_vector(?:\.\w+)?)$")),
)
_PEFT_IA3 = re.compile(r"\.ia3_l(?:\.\w+)?$")
_OF_PEFT = re.compile(r"(\.(?:hada|lokr)_\w+)\.default$")


@dataclass
class _Read:
    """What of a file was read so far."""

    layers: dict[str, Layer] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def load(path: Path, base: ModuleShapes) -> Adapter:
    """Read the adapter in ``path``, a file or a folder in the diffusers layout or PEFT's.

    Raises ``BadInput``, which names the first tensor at fault, unless every tensor belongs to a module of ``base``, fits it and
    holds finite numbers only.
    """
    found = header.read(path)
    told = scales.read(found)
    modules = _modules(found, base)
    tensors = _tensors(found)
    read = _Read()
    for module, roles in sorted(modules.items()):
        values = {role: _values(found, role, name, tensors[name]) for role, name in roles.items()}
        _read_module(found, module, roles, values, told, base, read)
    if not read.layers and not read.changes:
        raise BadInput(f"{found.file}: nothing in it changes a weight.")
    layers = {module: told.trained(module, layer, base) for module, layer in read.layers.items()}
    adapter = Adapter(layers, textual_inversion.read(found, base), read.changes, tuple(read.notes))
    return _with_one_kind_of_lora(adapter, base)


def hash_of(path: Path) -> str:
    """SHA-256 of the file that ``load`` reads; where it reads others beside it, one over the hashes of all."""
    read = files(path)
    hashes = {each.name: hash_file(each) for each in read}
    return hashes[read[0].name] if len(read) == 1 else hash_value(hashes)


def files(path: Path) -> list[Path]:
    """What ``load`` reads: the adapter's file first, then those beside it that belong to it."""
    # A file is not looked into for that: this is asked with every request.
    file = path if path.is_file() else header.read(path).file
    return [file, *(each for each in (scales.beside(file), textual_inversion.beside(file)) if each is not None)]


def _modules(found: Header, base: ModuleShapes) -> dict[str, dict[str, str]]:
    """Module of the base → role → name of the tensor."""
    modules: dict[str, dict[str, str]] = {}
    for stem, roles in _grouped(found).items():
        module = path_of(stem, base)
        if module is None:
            name = next(iter(roles.values()))
            raise BadInput(f"{found.file}: an adapter for another base: {base.name} has no module for {name}.")
        if module in modules:
            raise BadInput(f"{found.file}: has {module} twice, under two names.")
        modules[module] = roles
    if not modules:
        raise BadInput(f"{found.file}: no LoRA weights are in it.")
    return modules


def _grouped(found: Header) -> dict[str, dict[str, str]]:
    """Module's name in the file → role → name of the tensor."""
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    suffixes = sorted(
        {each for kind in kinds.all_kinds().values() for each in (*kind.marks, *kind.others)}, key=len, reverse=True
    )
    for name in sorted(found.shapes):
        if name.startswith(textual_inversion.BUNDLED):
            continue
        stem, role = _role(_OF_PEFT.sub(r"\1", name), suffixes)
        if role is None:
            raise BadInput(f"{found.file}: {name} is no part of an adapter that is known here.")
        if role in grouped[stem]:
            raise BadInput(f"{found.file}: {grouped[stem][role]} and {name} are the same weight twice.")
        grouped[stem][role] = name
    return grouped


def _role(name: str, suffixes: list[str]) -> tuple[str, str | None]:
    """A tensor's name without its end, and what that says it is; None where it says nothing."""
    for role, pattern in _LORA:
        if pattern.search(name):
            return pattern.sub("", name), role
    if _PEFT_IA3.search(name):
        return _PEFT_IA3.sub("", name), "ia3_l"
    for suffix in suffixes:
        if name.endswith(f".{suffix}"):
            return name.removesuffix(f".{suffix}"), suffix
    return name, None


def _read_module(
    found: Header, module: str, roles: Mapping[str, str], values: Tensors, told: Scales, base: ModuleShapes, read: _Read
) -> None:
    """Read the tensors of one module into ``read``."""
    values = _as_written_elsewhere(values, told, module)
    name = next(iter(roles.values()))
    if set(values) == {_ALPHA}:
        read.notes.append(f"{roles[_ALPHA]} stands alone, without weights: it was left out")
        return
    kind = _kind(values)
    if kind is None or (_DOWN in values and kind is kinds.get("full")):
        layer = _layer(found, module, roles, values, told, base)
        if isinstance(layer, Layer):
            read.layers[module] = layer
        else:
            read.changes[module] = layer
        values = {role: value for role, value in values.items() if role not in (_DOWN, _UP, _ALPHA, _MAGNITUDE)}
        kind = _kind(values)
        if kind is None and values:
            raise BadInput(f"{found.file}: {module}: a LoRA with {', '.join(sorted(values))}, which do not belong together.")
    if kind is not None and module in base.norms and kind is not kinds.get("full"):
        raise BadInput(f"{found.file}: {name}: a {kind.title} for a norm, which has no inputs to multiply.")
    if kind is not None and (wrong := _of_another_norm(module, values, base)):
        # As ComfyUI does: norms change little, and the rest is of this base.
        read.notes.append(f"{roles.get(wrong, name)} does not fit the norm {module}: it was left out")
    elif kind is not None and kind.layer is not None:
        read.layers[module] = _as_layer(found, module, name, values, kind, base)
    elif kind is not None:
        if module in read.changes:
            raise BadInput(f"{found.file}: {module}: a {read.changes[module].kind.title} and a {kind.title} in one module.")
        read.changes[module] = _change(found, module, roles, values, kind, told, base)


def _of_another_norm(module: str, values: Tensors, base: ModuleShapes) -> str | None:
    """The tensor that is for a norm of another size than the base's, if one is."""
    if module not in base.norms:
        return None
    size = base.norms[module][0]
    return next((role for role, tensor in values.items() if tensor.numel() != size), None)


def _as_written_elsewhere(values: Tensors, told: Scales, module: str) -> Tensors:
    """PEFT's and others' forms of what is known here by LyCORIS' names."""
    import torch

    values = dict(values)
    if _LORA_BIAS in values:
        # It is added to the second product, and scaled with that.
        rank = values[_DOWN].shape[0] if _DOWN in values else 1
        scale = float(values[_ALPHA].flatten()[0]) / rank if _ALPHA in values else told.of(module, rank)
        values["diff_b"] = values.pop(_LORA_BIAS) * scale
    if "ia3_l" in values:
        factors = values.pop("ia3_l")
        factors = factors.reshape(-1, 1) if factors.dim() < 2 else factors
        values |= {"weight": factors - 1, "on_input": torch.tensor(float(factors.shape[0] == 1))}
    return values


def _kind(values: Mapping[str, object]) -> Kind | None:
    """The kind of the tensors of a module, None for a plain LoRA; a bias may stand beside any, or alone."""
    found = next((kind for kind in kinds.all_kinds().values() if any(mark in values for mark in kind.marks)), None)
    full = kinds.get("full")
    return full if found is None and any(bias in values for bias in full.others) else found


def _as_layer(found: Header, module: str, name: str, values: Tensors, kind: Kind, base: ModuleShapes) -> Layer:
    """A kind that is a plain LoRA once the base is known, as one."""
    _check_together(found, module, values, kind)
    change = Change(kind, values, base.shape_of(module))
    _check_change(found, name, change, module, base)
    assert kind.layer is not None
    up, down = kind.layer(values, change.shape, base.weight(module))
    ones = (1,) * (len(change.shape) - 2)
    return Layer(down.reshape(-1, *change.shape[1:]), up.reshape(*up.shape, *ones), is_less_base=True)


def _check_together(found: Header, module: str, values: Tensors, kind: Kind, *besides: str) -> None:
    if others := sorted(set(values) - {*kind.marks, *kind.others, _ALPHA, *besides}):
        raise BadInput(f"{found.file}: {module}: a {kind.title} with {', '.join(others)}, which do not belong together.")


def _change(
    found: Header, module: str, roles: Mapping[str, str], values: Tensors, kind: Kind, told: Scales, base: ModuleShapes
) -> Change:
    shape, name = base.shape_of(module), next(iter(roles.values()))
    _check_together(found, module, values, kind, _MAGNITUDE, "diff_b")
    magnitude = values.pop(_MAGNITUDE, None)
    change = Change(kind, told.folded(module, values), shape)
    if magnitude is not None:
        over_inputs = _is_over_inputs(found, roles[_MAGNITUDE], shape)
        change = Change(kind, change.tensors, shape, magnitude.flatten(), over_inputs)
    _check_change(found, name, change, module, base)
    return change


def _check_change(found: Header, name: str, change: Change, module: str, base: ModuleShapes) -> None:
    """Make the change once: what does not fit the base is told before anything is applied."""
    weight = base.weight(module) if change.needs_base else None
    try:
        made = change.weight(weight)
    except (NotWhole, KeyError) as error:
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{found.file}: {name}: a {change.kind.title} that cannot be applied: {reason}.") from None
    except (ValueError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{found.file}: {change.kind.title} for another base: {name} does not fit {base.name} ({reason})."
        ) from None
    bias = change.bias()
    if bias is not None and len(bias) != change.shape[0]:
        raise BadInput(f"{found.file}: {name}: a bias of {len(bias)} numbers for {change.shape[0]} outputs of {base.name}.")
    if made is not None and not made.isfinite().all():
        raise BadInput(f"{found.file}: what {name} comes to is not finite.")


def _layer(
    found: Header, module: str, roles: Mapping[str, str], values: Tensors, told: Scales, base: ModuleShapes
) -> Layer | Change:
    """A plain LoRA; a DoRA over inputs, which is no layer of PEFT's, as a change."""
    for role, title in ((_DOWN, "down"), (_UP, "up")):
        if role not in values:
            raise BadInput(f"{found.file}: {module} has no {title} weight.")
    if module not in base.shapes:
        raise BadInput(f"{found.file}: {roles[_DOWN]}: a LoRA for a norm, which has no inputs to multiply.")
    _check_shapes(found, module, roles, base)
    out, *rest = base.shapes[module]
    rank = values[_DOWN].shape[0]
    scale = float(values[_ALPHA].flatten()[0]) / rank if _ALPHA in values else told.of(module, rank)
    down, up = values[_DOWN].reshape(rank, *rest), values[_UP].reshape(out, rank, *(1 for _ in rest[1:]))
    if _MAGNITUDE in values and _is_over_inputs(found, roles[_MAGNITUDE], base.shapes[module]):
        return _as_change(Layer(down, up, scale, values[_MAGNITUDE].flatten()), base.shapes[module], over_inputs=True)
    return Layer(down, up, scale, values[_MAGNITUDE].flatten() if _MAGNITUDE in values else None)


def _as_change(layer: Layer, shape: tuple[int, ...], over_inputs: bool = False) -> Change:
    folded = layer.folded()
    tensors = {_DOWN: folded.down, _UP: folded.up}
    return Change(kinds.get("lora"), tensors, shape, layer.magnitude, over_inputs)


def _with_one_kind_of_lora(adapter: Adapter, base: ModuleShapes) -> Adapter:
    """The adapter with the DoRA's layers as changes in parts where others have no norms: PEFT takes one or the other."""
    layers, changes = dict(adapter.layers), dict(adapter.changes)
    for part in adapter.parts:
        own = {path for path in layers if path.split(".")[0] == part}
        with_norms = {path for path in own if layers[path].magnitude is not None}
        for path in with_norms if with_norms != own else ():
            if path in changes:
                raise BadInput(f"{path}: a DoRA and another change in one module, beside modules without.")
            changes[path] = _as_change(layers.pop(path), base.shapes[path])
    return Adapter(layers, adapter.words, changes, adapter.notes)


def _values(found: Header, role: str, name: str, tensor: Tensor) -> Tensor:
    """A tensor's numbers, float32: scales are folded in and compared without another rounding."""
    # Some programs write a rank that is a whole number for an alpha, and a truth for on_input.
    if not tensor.is_floating_point() and role not in (_ALPHA, "on_input"):
        raise BadInput(f"{found.file}: {name} holds {tensor.dtype}, not floating-point numbers.")
    values = tensor.float()
    if not values.numel():
        raise BadInput(f"{found.file}: {name} holds no numbers: its rank, or a size of it, is 0.")
    if not values.isfinite().all():
        raise BadInput(f"{found.file}: {name} holds NaN or infinity: the training that made it had failed.")
    if role == _ALPHA and values.numel() != 1:
        raise BadInput(f"{found.file}: {name} is not one number.")
    return values


def _check_shapes(found: Header, module: str, roles: Mapping[str, str], base: ModuleShapes) -> None:
    out, *rest = base.shapes[module]
    down, up = found.shapes[roles[_DOWN]], found.shapes[roles[_UP]]
    rank = down[0] if down else 0
    # Some programs write the factors of a convolution as matrices.
    flat = 1
    for size in rest:
        flat *= size
    fits_down = down[1:] in (tuple(rest), (flat,)) or (flat == rest[0] and down[1:2] == (flat,))
    if rank < 1 or not fits_down or up[:2] != (out, rank) or any(size != 1 for size in up[2:]):
        shapes = f"{roles[_DOWN]} {down} and {roles[_UP]} {up}"
        raise BadInput(f"{found.file}: an adapter for another base: {shapes} do not fit {base.name}.")


def _is_over_inputs(found: Header, name: str, shape: tuple[int, ...]) -> bool:
    """Whether a DoRA's norms are one for each input: (1, in, …) as LyCORIS and OneTrainer write them; else one for each output.

    PEFT's norms are of outputs, those of convolutions along the second axis.
    """
    told = found.shapes[name]
    if "lora_magnitude_vector" in name:
        along = 1 if len(told) > 2 else 0
        is_of_outputs = len(told) > along and told[along] == shape[0]
        others = [size for axis, size in enumerate(told) if axis != along]
    else:
        is_of_outputs = told[:1] == (shape[0],)
        others = list(told[1:])
    if is_of_outputs and all(size == 1 for size in others):
        return False
    is_of_inputs = (
        len(told) > 1 and told[0] == 1 and len(shape) > 1 and told[1] == shape[1] and all(size == 1 for size in told[2:])
    )
    if is_of_inputs:
        return True
    raise BadInput(f"{found.file}: {name} {told} has neither a norm for each of {shape[0]} outputs nor for each input.")


def _tensors(found: Header) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Tensors = load_file(found.file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{found.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    return tensors
