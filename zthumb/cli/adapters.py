"""Inspect, convert, merge, resize and compare adapter files."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.arguments import positive
from foundation.errors import DONE, FAILED, BadInput
from foundation.files import atomic_file
from zthumb.adapters.textual_inversion import ENDING, save

if TYPE_CHECKING:
    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.fitting_base import Recognized
    from zthumb.adapters.resize import Resized
    from zthumb.families.base import ModelFamily

_FILE_SPECIFIC_KEYS = ("lora_adapter_metadata", "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", "format")
_MAX_SHOWN, _DEFAULT_RANK = 8, 64
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands to ``parser``."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="print what a file contains, which base it fits and how strong it is")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect)
    convert = commands.add_parser("convert", help="write a file in another layout")
    convert.add_argument("file", type=Path, metavar="FILE")
    convert.add_argument(
        "--as", dest="kind", choices=("lora",), help="approximate another kind by a plain LoRA of --rank; print the share kept"
    )
    convert.add_argument("--rank", type=positive, help=f"rank for --as lora (default: {_DEFAULT_RANK})")
    convert.set_defaults(run=_convert)
    merge = commands.add_parser("merge", help="combine several adapters into one, or merge them into a base")
    merge.add_argument("files", nargs="+", metavar="FILE[:WEIGHT]", help="an adapter and its weight (default: 1)")
    merge.add_argument("--rank", type=positive, help="reduce the result to this rank (default: the sum of all ranks, exact)")
    merge.add_argument("--into", type=Path, metavar="BASE", help="write BASE with the adapters merged into its weights to OUT")
    merge.set_defaults(run=_merge)
    resize = commands.add_parser("resize", help="write the nearest adapter of a smaller rank")
    resize.add_argument("file", type=Path, metavar="FILE")
    resize.add_argument("--rank", type=positive, help="the largest rank")
    resize.add_argument("--keep", type=_fraction, default=1.0, help="share of each module's change to keep, 0 to 1 (default: 1)")
    resize.set_defaults(run=_resize)
    diff = commands.add_parser("diff", help="measure how different two adapters are; exit code 1 if they differ")
    diff.add_argument("first", type=Path, metavar="FIRST")
    diff.add_argument("second", type=Path, metavar="SECOND")
    diff.add_argument("--json", action="store_true", help="print JSON")
    diff.set_defaults(run=_diff)
    for command in (inspect, convert, merge, resize, diff):
        command.add_argument("--base", type=Path, help="the base of the adapters (default: the first available base they fit)")
    for command in (convert, merge, resize):
        command.add_argument("--out", type=Path, required=True, help="the file to write; with merge --into, the folder")
        command.add_argument("--to", choices=("kohya", "diffusers"), help="layout of OUT (default: kohya)")
        command.add_argument("--dtype", choices=tuple(_DTYPES), help="dtype of the tensors (default: fp32, which is exact)")
        command.add_argument("--force", action="store_true", help="replace OUT if it exists")


def _inspect(arguments: argparse.Namespace) -> int:
    from zthumb.adapters import inspection

    for index, file in enumerate(arguments.files):
        summarised = inspection.summarize(file, _recognise(file, arguments))
        if arguments.json:
            print(json.dumps(asdict(summarised), ensure_ascii=False))
        else:
            print("\n" * bool(index) + "\n".join(inspection.lines(summarised)))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.rank is not None and arguments.kind is None:
        raise BadInput("convert: --rank is only for --as lora; `zthumb adapters resize` changes the rank of a LoRA.")
    _check_file(arguments)
    source = _recognise(arguments.file, arguments)
    if arguments.kind is None:
        _write(source.adapter, source, _metadata_of(arguments.file), arguments)
        _print_notes(source.adapter)
        return DONE
    from zthumb.adapters.resize import as_lora

    lora = as_lora(source.adapter, source.base, arguments.rank or _DEFAULT_RANK)
    _write(lora.adapter, source, _metadata_of(arguments.file), arguments)
    _print_kept(lora)
    return DONE


def _merge(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.fuse import fuse
    from zthumb.adapters.merge import merge
    from zthumb.adapters.resize import resize

    files = [_parse_weighted(text) for text in arguments.files]
    if arguments.into:
        _check_base(arguments, [file for file, _ in files])
        arguments.base = arguments.into
    else:
        _check_file(arguments)
    sources = [_recognise(file, arguments) for file, _ in files]
    weighted = [(source.adapter, weight) for source, (_, weight) in zip(sources, files, strict=True)]
    _check_same_base(sources)
    for file, source in zip(arguments.files, sources, strict=True):
        if source.adapter.changes and not arguments.into:
            kinds = " and ".join(source.adapter.kinds)
            raise BadInput(f"{file}: a {kinds} cannot be added to a LoRA: convert it with `zthumb adapters convert --as lora`.")
    if arguments.into:
        warning = fuse(arguments.into, weighted, arguments.out)
        print(f"{arguments.out}: {arguments.into} with {len(weighted)} adapters merged into its weights")
        for embedding in (embedding for adapter, _ in weighted for embedding in adapter.embeddings):
            print(f"{arguments.out}: without the learned tokens of {embedding.text!r}: keep their file, a base cannot hold them")
        for adapter, _ in weighted:
            _print_notes(adapter)
        if warning is not None:
            print(f"{arguments.out}: {warning}", file=sys.stderr)
        return DONE
    merged = merge(weighted)
    _write(resize(merged, arguments.rank).adapter if arguments.rank else merged, sources[0], {}, arguments)
    _print_notes(merged)
    return DONE


def _resize(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.resize import as_lora, resize

    if arguments.rank is None and arguments.keep == 1:
        raise BadInput("resize: the target size is missing: give --rank 8, or --keep 0.95, or both.")
    _check_file(arguments)
    source = _recognise(arguments.file, arguments)
    adapter = source.adapter
    if adapter.changes:
        full_rank = max(max(shape) for shape in source.base.shapes.values())
        adapter = as_lora(adapter, source.base, full_rank).adapter
    resized = resize(adapter, arguments.rank, arguments.keep)
    _write(resized.adapter, source, _metadata_of(arguments.file), arguments)
    _print_kept(resized)
    return DONE


def _print_kept(resized: Resized) -> None:
    kept = sorted(resized.kept.items(), key=lambda pair: pair[1])
    print(f"kept of each module's change: at least {kept[0][1]:.1%} ({kept[0][0]}), on average {_mean(kept):.1%}")
    _print_notes(resized.adapter)


def _print_notes(adapter: Adapter) -> None:
    for note in adapter.notes:
        print(f"note: {note}")


def _diff(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.distance import difference

    sources = [_recognise(file, arguments) for file in (arguments.first, arguments.second)]
    _check_same_base(sources)
    result = difference(*(source.adapter for source in sources))
    if arguments.json:
        print(json.dumps(asdict(result)))
        return DONE if result.is_none else FAILED
    for file, paths in ((arguments.first, result.only_first), (arguments.second, result.only_second)):
        if paths:
            print(f"only in {file}: {len(paths)} modules, for example {paths[0]}")
    distance = "the first changes nothing" if result.apart is None else f"distance {result.apart:.2%} of the first's norm"
    print(f"{len(result.both)} modules in both; {distance}, cosine {result.cosine:.4f}")
    if unequal := [path for path, module in result.both.items() if module.magnitudes is None or module.magnitudes > 1e-5]:
        print(f"the DoRA magnitudes differ in {len(unequal)} modules, for example {unequal[0]}")
    if not result.same_embeddings:
        print("their learned tokens differ")
    if result.is_none:
        print("both change the model in the same way")
        return DONE
    least_similar = sorted(result.both.items(), key=lambda pair: pair[1].cosine)
    for path, module in least_similar[:_MAX_SHOWN]:
        print(f"  cosine {module.cosine:7.4f}  norms {module.first:.3g} and {module.second:.3g}  {path}")
    return FAILED


def _recognise(file: Path, arguments: argparse.Namespace) -> Recognized:
    from zthumb.adapters.fitting_base import recognize
    from zthumb.sources.bases import find_base

    return recognize(file, find_base(str(arguments.base)) if arguments.base else None)


def _write(adapter: Adapter, source: Recognized, metadata: Mapping[str, str], arguments: argparse.Namespace) -> None:
    from zthumb.adapters.layouts import save_diffusers, save_kohya

    adapter = _in_dtype(adapter, arguments.dtype)
    layout = arguments.to or "kohya"
    rank = max((layer.rank for layer in adapter.layers.values()), default=None)
    if rank is not None:
        metadata = {**metadata, "ss_network_dim": str(rank), "ss_network_alpha": str(rank)}
    if adapter.changes and layout == "diffusers":
        kinds = " and ".join(adapter.kinds)
        raise BadInput(f"--to diffusers: that layout can only hold LoRA, and this is {kinds}. Add --as lora, or use --to kohya.")
    _check_learned_embeddings(adapter, arguments.out)
    with atomic_file(arguments.out) as path:
        if layout == "kohya":
            save_kohya(adapter, path, source.base.family, source.base.denoiser_config, metadata)
        else:
            save_diffusers(adapter, path, metadata, source.base.family.diffusers_prefixes)
    _write_learned_embeddings(adapter, arguments.out, source.base.family)
    content = " and ".join(adapter.kinds) if rank is None else f"rank {rank} at most"
    print(f"{arguments.out}: {len(adapter.paths)} modules, {content}, {layout} layout")


def _check_learned_embeddings(adapter: Adapter, out: Path) -> None:
    if len(adapter.embeddings) > 1:
        texts = ", ".join(repr(embedding.text) for embedding in adapter.embeddings)
        raise BadInput(
            f"{out}: one file cannot hold the learned tokens of {texts}: use only one adapter that has learned tokens."
        )


def _write_learned_embeddings(adapter: Adapter, out: Path, family: ModelFamily) -> None:
    """Write the learned embedding of the adapter to its own file next to ``out``; delete one left by a replaced adapter."""
    file = out.with_name(f"{out.stem}{ENDING}")
    file.unlink(missing_ok=True)
    for embedding in adapter.embeddings:
        with atomic_file(file) as path:
            save(embedding, path, family)
        print(f"{file}: learned tokens of {embedding.text!r} ({embedding.tokens})")


def _metadata_of(file: Path) -> dict[str, str]:
    """Return the header's metadata about the adapter, without the keys that are about the file's own bytes."""
    from zthumb.checkpoints import header

    return {key: value for key, value in header.read(file).metadata.items() if key not in _FILE_SPECIFIC_KEYS}


def _check_not_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise BadInput(f"{out}: already exists. Choose another --out, or replace it with --force.")


def _check_file(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    _check_not_existing(out, arguments.force)
    if out.suffix != ".safetensors" or out.name.endswith(ENDING):
        raise BadInput(f"{out}: the name of an adapter file must end in .safetensors, and not in {ENDING}.")
    _check_not_existing(out.with_name(f"{out.stem}{ENDING}"), arguments.force)


def _check_base(arguments: argparse.Namespace, files: list[Path]) -> None:
    """Raise ``BadInput`` unless OUT is new or replaces a base model that is not one of the inputs."""
    out: Path = arguments.out
    if unused := [name for name in ("rank", "to", "dtype", "base") if getattr(arguments, name)]:
        raise BadInput(f"--{unused[0]} is for writing an adapter; --into writes BASE in its own precision.")
    _check_not_existing(out, arguments.force)
    if out.exists() and not (out / "model_index.json").is_file():
        raise BadInput(f"{out}: not a base model, so it is not replaced by one. Choose another --out.")
    if any(path.resolve().is_relative_to(out.resolve()) for path in (arguments.into, *files)):
        raise BadInput(f"{out}: contains an input of this merge. Choose another --out.")


def _check_same_base(sources: list[Recognized]) -> None:
    if len(names := {source.base.name for source in sources}) > 1:
        raise BadInput(f"the adapters are for different bases: {', '.join(sorted(names))}.")


def _in_dtype(adapter: Adapter, name: str | None) -> Adapter:
    """Return the adapter in another dtype, with its scales folded in; raise ``BadInput`` if a value overflows."""
    if name is None:
        return adapter
    import torch

    from zthumb.adapters.adapter import Adapter

    dtype = getattr(torch, _DTYPES[name])
    layers = {path: layer.fold_scale().to(dtype) for path, layer in adapter.layers.items()}
    changes = {path: change.in_dtype(dtype) for path, change in adapter.changes.items()}
    tensors = [tensor for layer in layers.values() for tensor in (layer.up, layer.down, layer.magnitude) if tensor is not None]
    tensors += [tensor for change in changes.values() for tensor in change.tensors.values()]
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise BadInput(f"--dtype {name}: some values of the adapter are too large for it. Use bf16.")
    return Adapter(layers, adapter.embeddings, changes, adapter.notes)


def _parse_weighted(text: str) -> tuple[Path, float]:
    file, colon, number = text.rpartition(":")
    try:
        weight = float(number) if colon else 1.0
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(weight):
        raise BadInput(f"{text}: the weight must be a finite number, as in {file}:0.8.")
    return Path(file if colon else text), weight


def _mean(kept: list[tuple[str, float]]) -> float:
    return sum(share for _, share in kept) / len(kept)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1")
    return value
