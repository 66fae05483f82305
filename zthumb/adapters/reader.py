"""Read an adapter file of any program, and check it against a base before anything is applied.

Module names may be kohya's with original or diffusers' block names (kohya, ai-toolkit, OneTrainer), LyCORIS', those of the
diffusers layouts of today and from before PEFT, ComfyUI's, those of single-file checkpoints, and those of PEFT's folders. The
changes may be LoRA, DoRA, and every kind in ``zthumb.adapters.kinds``.
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
from zthumb.adapters import kinds, textual_inversion
from zthumb.adapters import scales as peft_scales
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.change import Change
from zthumb.adapters.fused_modules import Fused, divide_change, divide_layer, is_fused, with_fused
from zthumb.adapters.kinds.base import IncompleteTensors, Kind
from zthumb.adapters.module_names import Found, places_of
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.scales import Scales
from zthumb.checkpoints import header as headers
from zthumb.checkpoints.header import Header

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]

_DOWN, _UP, _ALPHA, _MAGNITUDE, _LORA_BIAS = "lora_down.weight", "lora_up.weight", "alpha", "magnitude", "lora_bias"
_FACTOR = r"(?:\.lora_{0}|\.lora_{1}(?:\.\w+)?|\.lora\.{0}|_lora\.{0}|(?<=_lora[12])\.{0}|\.lora_linear_layer\.{0})\.weight$"
_LORA = (
    (_DOWN, re.compile(_FACTOR.format("down", "A"))),
    (_UP, re.compile(_FACTOR.format("up", "B"))),
    (_LORA_BIAS, re.compile(r"(?:\.lora_up|\.lora_B(?:\.\w+)?)\.bias$")),
    (_ALPHA, re.compile(r"\.alpha$")),
    (_MAGNITUDE, re.compile(r"(?:\.dora_scale|\.lora_magnitude_vector(?:\.\w+)?)$")),
)
_PEFT_IA3 = re.compile(r"\.ia3_l(?:\.\w+)?$")
_PEFT_ADAPTER_NAME = re.compile(r"(\.(?:hada|lokr)_\w+)\.default$")


@dataclass
class _Contents:
    """What has been read of a file so far."""

    layers: dict[str, Layer] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def load(path: Path, base: ModuleShapes) -> Adapter:
    """Read the adapter in ``path``, a file or a folder in the diffusers layout or PEFT's.

    Raises ``BadInput``, which names the first tensor at fault, unless every tensor belongs to a module of ``base``, fits it and
    has only finite values.
    """
    header = headers.read(path)
    scales = peft_scales.read_scales(header, base.family)
    modules, fused = _modules(header, base)
    extended = with_fused(base, fused)
    tensors = _load_tensors(header)
    contents = _Contents()
    for module, roles in sorted(modules.items()):
        values = {role: _values(header, role, name, tensors[name]) for role, name in roles.items()}
        _read_module(header, module, roles, values, scales, extended, contents)
    _divide(header, contents, fused, extended)
    if not contents.layers and not contents.changes:
        raise BadInput(f"{header.file}: nothing in it changes a weight.")
    layers = {module: scales.subtract_initialization(module, layer, base) for module, layer in contents.layers.items()}
    learned_embeddings = textual_inversion.read_learned_embeddings(header, base)
    adapter = Adapter(layers, learned_embeddings, contents.changes, (*contents.notes, *base.family.notes_on(header.metadata)))
    return _without_mixed_dora(adapter, base)


def hash_of(path: Path) -> str:
    """Return the SHA-256 of the file that ``load`` reads; if it reads several, one hash over the hashes of all."""
    paths = files(path)
    hashes = {file.name: hash_file(file) for file in paths}
    return hashes[paths[0].name] if len(paths) == 1 else hash_value(hashes)


def files(path: Path) -> list[Path]:
    """Return the files that ``load`` reads: the adapter's file first, then those next to it that belong to it."""
    # The header of a file is not read for this, because it is called in every request.
    file = path if path.is_file() else headers.read(path).file
    companions = (peft_scales.config_file_of(file), textual_inversion.embedding_file_of(file))
    return [file, *(companion for companion in companions if companion is not None)]


def _modules(header: Header, base: ModuleShapes) -> tuple[dict[str, dict[str, str]], dict[str, Found]]:
    """Return by module: role → name of the tensor; and the modules that the file has as one, by a path of their own."""
    modules: dict[str, dict[str, str]] = {}
    fused: dict[str, Found] = {}
    for stem, roles in _roles_by_stem(header).items():
        places = places_of(stem, base)
        if not places:
            name = next(iter(roles.values()))
            raise BadInput(f"{header.file}: an adapter for another base: {base.name} has no module for {name}.")
        module = places[0].path
        if is_fused(places):
            module = f"{base.family.denoiser_component}.{places[0].key.name}"
            fused[module] = places
        if module in modules:
            raise BadInput(f"{header.file}: has {module} twice, under two names.")
        modules[module] = roles
    if not modules:
        raise BadInput(f"{header.file}: no LoRA weights are in it.")
    return modules, fused


def _divide(header: Header, contents: _Contents, fused: Fused, base: ModuleShapes) -> None:
    """Replace what was read of fused modules by what it is for the modules of the base."""
    for module, places in fused.items():
        layers, changes = dict[str, Layer](), dict[str, Change]()
        if module in contents.layers:
            layers = divide_layer(contents.layers.pop(module), places)
        if module in contents.changes:
            changes = divide_change(contents.changes.pop(module), places, base, module)
        for path in {*layers, *changes} & {*contents.layers, *contents.changes}:
            raise BadInput(f"{header.file}: has {path} twice, by itself and among fused modules.")
        contents.layers.update(layers)
        contents.changes.update(changes)


def _roles_by_stem(header: Header) -> dict[str, dict[str, str]]:
    """Return by the module's name in the file: role → name of the tensor."""
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    suffixes = sorted(
        {suffix for kind in kinds.all_kinds().values() for suffix in (*kind.identifying_suffixes, *kind.other_suffixes)},
        key=len,
        reverse=True,
    )
    for name in sorted(header.shapes):
        if name.startswith(textual_inversion.BUNDLED_PREFIX):
            continue
        stem, role = _split_role(_PEFT_ADAPTER_NAME.sub(r"\1", name), suffixes)
        if role is None:
            raise BadInput(f"{header.file}: {name} is not a tensor of any supported kind of adapter.")
        if role in grouped[stem]:
            raise BadInput(f"{header.file}: {grouped[stem][role]} and {name} are the same weight twice.")
        grouped[stem][role] = name
    return grouped


def _split_role(name: str, suffixes: list[str]) -> tuple[str, str | None]:
    """Return a tensor's name without its suffix, and the role that the suffix means; None for an unknown suffix."""
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
    header: Header,
    module: str,
    roles: Mapping[str, str],
    values: Tensors,
    scales: Scales,
    base: ModuleShapes,
    contents: _Contents,
) -> None:
    """Read the tensors of one module into ``contents``."""
    values = _to_lycoris(values, scales, module)
    name = next(iter(roles.values()))
    if set(values) == {_ALPHA}:
        contents.notes.append(f"{roles[_ALPHA]} has no weights: it was skipped")
        return
    kind = _kind(values)
    if kind is None or (_DOWN in values and kind is kinds.get("full")):
        layer = _read_lora(header, module, roles, values, scales, base)
        if isinstance(layer, Layer):
            contents.layers[module] = layer
        else:
            contents.changes[module] = layer
        values = {role: value for role, value in values.items() if role not in (_DOWN, _UP, _ALPHA, _MAGNITUDE)}
        kind = _kind(values)
        if kind is None and values:
            raise BadInput(f"{header.file}: {module}: a LoRA with {', '.join(sorted(values))}, which do not belong together.")
    if kind is not None and module in base.norms and kind is not kinds.get("full"):
        raise BadInput(f"{header.file}: {name}: a {kind.title} for a norm, which has no inputs to multiply.")
    if kind is not None and (misfit := _misfit_for_norm(module, values, base)):
        # As in ComfyUI: norms matter little, and the rest of the file is for this base.
        contents.notes.append(f"{roles.get(misfit, name)} does not fit the norm {module}: it was skipped")
    elif kind is not None and kind.to_lora is not None:
        contents.layers[module] = _read_as_lora(header, module, name, values, kind, base)
    elif kind is not None:
        if module in contents.changes:
            raise BadInput(f"{header.file}: {module}: a {contents.changes[module].kind.title} and a {kind.title} in one module.")
        contents.changes[module] = _read_change(header, module, roles, values, kind, scales, base)


def _misfit_for_norm(module: str, values: Tensors, base: ModuleShapes) -> str | None:
    """Return the role of a tensor for a norm of another size than the base's, if there is one."""
    if module not in base.norms:
        return None
    size = base.norms[module][0]
    return next((role for role, tensor in values.items() if tensor.numel() != size), None)


def _to_lycoris(values: Tensors, scales: Scales, module: str) -> Tensors:
    """Return the tensors with PEFT's forms of a bias and of (IA)³ converted to those of LyCORIS."""
    import torch

    values = dict(values)
    if _LORA_BIAS in values:
        # The bias is added to the output of the up projection, and scaled together with it.
        rank = values[_DOWN].shape[0] if _DOWN in values else 1
        scale = float(values[_ALPHA].flatten()[0]) / rank if _ALPHA in values else scales.scale_of(module, rank)
        values["diff_b"] = values.pop(_LORA_BIAS) * scale
    if "ia3_l" in values:
        factors = values.pop("ia3_l")
        factors = factors.reshape(-1, 1) if factors.dim() < 2 else factors
        values |= {"weight": factors - 1, "on_input": torch.tensor(float(factors.shape[0] == 1))}
    return values


def _kind(values: Mapping[str, object]) -> Kind | None:
    """Return the kind of a module's tensors, None for a plain LoRA; a bias may accompany any kind, or be the only tensor."""
    match = next(
        (kind for kind in kinds.all_kinds().values() if any(suffix in values for suffix in kind.identifying_suffixes)), None
    )
    full = kinds.get("full")
    return full if match is None and any(bias in values for bias in full.other_suffixes) else match


def _read_as_lora(header: Header, module: str, name: str, values: Tensors, kind: Kind, base: ModuleShapes) -> Layer:
    """Return the layer for a kind that is a plain LoRA once the base is known."""
    _check_roles(header, module, values, kind)
    change = Change(kind, values, base.shape_of(module))
    _check_change(header, name, change, module, base)
    assert kind.to_lora is not None
    up, down = kind.to_lora(values, change.shape, base.weight(module))
    ones = (1,) * (len(change.shape) - 2)
    return Layer(down.reshape(-1, *change.shape[1:]), up.reshape(*up.shape, *ones), has_base_subtracted=True)


def _check_roles(header: Header, module: str, values: Tensors, kind: Kind, *allowed: str) -> None:
    if unexpected := sorted(set(values) - {*kind.identifying_suffixes, *kind.other_suffixes, _ALPHA, *allowed}):
        raise BadInput(f"{header.file}: {module}: a {kind.title} with {', '.join(unexpected)}, which do not belong together.")


def _read_change(
    header: Header,
    module: str,
    roles: Mapping[str, str],
    values: Tensors,
    kind: Kind,
    scales: Scales,
    base: ModuleShapes,
) -> Change:
    shape, name = base.shape_of(module), next(iter(roles.values()))
    _check_roles(header, module, values, kind, _MAGNITUDE, "diff_b")
    magnitude = values.pop(_MAGNITUDE, None)
    change = Change(kind, scales.fold_scale(module, values), shape)
    if magnitude is not None:
        is_per_input = _is_per_input(header, roles[_MAGNITUDE], shape)
        change = Change(kind, change.tensors, shape, magnitude.flatten(), is_per_input)
    _check_change(header, name, change, module, base)
    return change


def _check_change(header: Header, name: str, change: Change, module: str, base: ModuleShapes) -> None:
    """Compute the change once, to raise ``BadInput`` for one that does not fit the base before anything is applied."""
    weight = base.weight(module) if change.needs_base else None
    try:
        delta = change.delta_weight(weight)
    except (IncompleteTensors, KeyError) as error:
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{header.file}: {name}: a {change.kind.title} that cannot be applied: {reason}.") from None
    except (ValueError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{header.file}: {change.kind.title} for another base: {name} does not fit {base.name} ({reason})."
        ) from None
    bias = change.bias()
    if bias is not None and len(bias) != change.shape[0]:
        raise BadInput(f"{header.file}: {name}: a bias of {len(bias)} values for {change.shape[0]} outputs of {base.name}.")
    if delta is not None and not delta.isfinite().all():
        raise BadInput(f"{header.file}: the weight change computed from {name} is not finite.")


def _read_lora(
    header: Header, module: str, roles: Mapping[str, str], values: Tensors, scales: Scales, base: ModuleShapes
) -> Layer | Change:
    """Return a plain LoRA as a layer; a DoRA with one norm per input, which PEFT does not support, as a change."""
    for role, title in ((_DOWN, "down"), (_UP, "up")):
        if role not in values:
            raise BadInput(f"{header.file}: {module} has no {title} weight.")
    if module not in base.shapes:
        raise BadInput(f"{header.file}: {roles[_DOWN]}: a LoRA for a norm, which has no inputs to multiply.")
    _check_shapes(header, module, roles, base)
    out, *rest = base.shapes[module]
    rank = values[_DOWN].shape[0]
    scale = float(values[_ALPHA].flatten()[0]) / rank if _ALPHA in values else scales.scale_of(module, rank)
    down, up = values[_DOWN].reshape(rank, *rest), values[_UP].reshape(out, rank, *(1 for _ in rest[1:]))
    if _MAGNITUDE in values and _is_per_input(header, roles[_MAGNITUDE], base.shapes[module]):
        return _to_change(Layer(down, up, scale, values[_MAGNITUDE].flatten()), base.shapes[module], is_per_input=True)
    return Layer(down, up, scale, values[_MAGNITUDE].flatten() if _MAGNITUDE in values else None)


def _to_change(layer: Layer, shape: tuple[int, ...], is_per_input: bool = False) -> Change:
    folded = layer.fold_scale()
    tensors = {_DOWN: folded.down, _UP: folded.up}
    return Change(kinds.get("lora"), tensors, shape, layer.magnitude, is_per_input)


def _without_mixed_dora(adapter: Adapter, base: ModuleShapes) -> Adapter:
    """Return the adapter with DoRA layers as changes in components that also have layers without: PEFT cannot mix the two."""
    layers, changes = dict(adapter.layers), dict(adapter.changes)
    for component in adapter.parts:
        component_paths = {path for path in layers if path.split(".")[0] == component}
        dora_paths = {path for path in component_paths if layers[path].magnitude is not None}
        for path in dora_paths if dora_paths != component_paths else ():
            if path in changes:
                raise BadInput(f"{path}: a DoRA and another change in one module, while other modules have no DoRA.")
            changes[path] = _to_change(layers.pop(path), base.shapes[path])
    return Adapter(layers, adapter.embeddings, changes, adapter.notes)


def _values(header: Header, role: str, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in float32, so that folding in a scale and comparing add no further rounding."""
    # Some programs write an integer rank as alpha, and a boolean for on_input.
    if not tensor.is_floating_point() and role not in (_ALPHA, "on_input"):
        raise BadInput(f"{header.file}: {name} has dtype {tensor.dtype}, not floating-point.")
    values = tensor.float()
    if not values.numel():
        raise BadInput(f"{header.file}: {name} is empty: its rank, or another size of it, is 0.")
    if not values.isfinite().all():
        raise BadInput(f"{header.file}: {name} contains NaN or infinity: the training that produced it failed.")
    if role == _ALPHA and values.numel() != 1:
        raise BadInput(f"{header.file}: {name} is not one number.")
    return values


def _check_shapes(header: Header, module: str, roles: Mapping[str, str], base: ModuleShapes) -> None:
    out, *rest = base.shapes[module]
    down, up = header.shapes[roles[_DOWN]], header.shapes[roles[_UP]]
    rank = down[0] if down else 0
    # Some programs write the factors of a convolution as matrices.
    flat = 1
    for size in rest:
        flat *= size
    fits_down = down[1:] in (tuple(rest), (flat,)) or (flat == rest[0] and down[1:2] == (flat,))
    if rank < 1 or not fits_down or up[:2] != (out, rank) or any(size != 1 for size in up[2:]):
        shapes = f"{roles[_DOWN]} {down} and {roles[_UP]} {up}"
        raise BadInput(f"{header.file}: an adapter for another base: {shapes} do not fit {base.name}.")


def _is_per_input(header: Header, name: str, shape: tuple[int, ...]) -> bool:
    """Return whether a DoRA has one norm per input, (1, in, …) as LyCORIS and OneTrainer write them, and not one per output.

    PEFT's norms are always per output; those of convolutions are along the second axis.
    """
    norms_shape = header.shapes[name]
    if "lora_magnitude_vector" in name:
        axis = 1 if len(norms_shape) > 2 else 0
        is_of_outputs = len(norms_shape) > axis and norms_shape[axis] == shape[0]
        other_sizes = [size for other, size in enumerate(norms_shape) if other != axis]
    else:
        is_of_outputs = norms_shape[:1] == (shape[0],)
        other_sizes = list(norms_shape[1:])
    if is_of_outputs and all(size == 1 for size in other_sizes):
        return False
    is_of_inputs = (
        len(norms_shape) > 1
        and norms_shape[0] == 1
        and len(shape) > 1
        and norms_shape[1] == shape[1]
        and all(size == 1 for size in norms_shape[2:])
    )
    if is_of_inputs:
        return True
    raise BadInput(f"{header.file}: {name} {norms_shape} has neither one norm per output ({shape[0]}) nor one per input.")


def _load_tensors(header: Header) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Tensors = load_file(header.file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{header.file}: not a safetensors file: {str(error).splitlines()[0]}") from None
    return tensors
