"""``zthumb adapters``: look at LoRA files, convert them, and make new ones of them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import DONE, FAILED, BadInput
from foundation.files import atomic_file
from zthumb.adapters.textual_inversion import ENDING, save

if TYPE_CHECKING:
    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.bases import Recognised
    from zthumb.adapters.resize import Resized

_OF_THE_OLD_FILE = ("lora_adapter_metadata", "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", "format")
_SHOWN, _RANK = 8, 64
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def add_commands(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="what a file is, which base it fits, how strong it is")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect)
    convert = commands.add_parser("convert", help="write a file in another layout")
    convert.add_argument("file", type=Path, metavar="FILE")
    convert.add_argument(
        "--as", dest="kind", choices=("lora",), help="the nearest plain LoRA of what is none, of --rank; the error is told"
    )
    convert.add_argument("--rank", type=_positive, help=f"of --as lora (default: {_RANK})")
    convert.set_defaults(run=_convert)
    merge = commands.add_parser("merge", help="several adapters as one, or worked into a base")
    merge.add_argument("files", nargs="+", metavar="FILE[:WEIGHT]", help="an adapter and how much of it (default: 1)")
    merge.add_argument("--rank", type=_positive, help="reduce the result to this rank (default: the sum of theirs, exactly)")
    merge.add_argument("--into", type=Path, metavar="BASE", help="write BASE with the adapters in its weights to OUT")
    merge.set_defaults(run=_merge)
    resize = commands.add_parser("resize", help="the nearest adapter of a smaller rank")
    resize.add_argument("file", type=Path, metavar="FILE")
    resize.add_argument("--rank", type=_positive, help="the largest rank")
    resize.add_argument("--keep", type=_share, default=1.0, help="share of each module's change to keep, 0 to 1 (default: 1)")
    resize.set_defaults(run=_resize)
    diff = commands.add_parser("diff", help="how far two adapters are apart; exit code 1 if they are")
    diff.add_argument("first", type=Path, metavar="FIRST")
    diff.add_argument("second", type=Path, metavar="SECOND")
    diff.add_argument("--json", action="store_true", help="print JSON")
    diff.set_defaults(run=_diff)
    for command in (inspect, convert, merge, resize, diff):
        command.add_argument("--base", type=Path, help="the base the adapters are for (default: the first known one they fit)")
    for command in (convert, merge, resize):
        command.add_argument("--out", type=Path, required=True, help="the file to write")
        command.add_argument("--to", choices=("kohya", "diffusers"), help="its layout (default: kohya)")
        command.add_argument("--dtype", choices=tuple(_DTYPES), help="of its numbers (default: fp32, which is exact)")
        command.add_argument("--force", action="store_true", help="replace OUT if it is there")


def _inspect(arguments: argparse.Namespace) -> int:
    from zthumb.adapters import summary

    for number, file in enumerate(arguments.files):
        found = summary.summarise(file, _read(file, arguments))
        if arguments.json:
            print(json.dumps(asdict(found), ensure_ascii=False))
        else:
            print("\n" * bool(number) + "\n".join(summary.lines(found)))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.rank is not None and arguments.kind is None:
        raise BadInput("convert: --rank is of --as lora; `zthumb adapters resize` changes the rank of a LoRA.")
    _check_file(arguments)
    found = _read(arguments.file, arguments)
    if arguments.kind is None:
        _write(found.adapter, found, _told_by(arguments.file), arguments)
        _tell_notes(found.adapter)
        return DONE
    from zthumb.adapters.resize import as_lora

    made = as_lora(found.adapter, found.base, arguments.rank or _RANK)
    _write(made.adapter, found, _told_by(arguments.file), arguments)
    _tell_kept(made)
    return DONE


def _merge(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.fuse import fuse
    from zthumb.adapters.merge import merge
    from zthumb.adapters.resize import resize

    files = [_weighted(text) for text in arguments.files]
    if arguments.into:
        _check_base(arguments, [file for file, _ in files])
        arguments.base = arguments.into
    else:
        _check_file(arguments)
    found = [_read(file, arguments) for file, _ in files]
    pairs = [(each.adapter, weight) for each, (_, weight) in zip(found, files, strict=True)]
    _check_one_base(found)
    for file, each in zip(arguments.files, found, strict=True):
        if each.adapter.changes and not arguments.into:
            kinds = " and ".join(each.adapter.kinds)
            raise BadInput(f"{file}: a {kinds} adds up with no LoRA. Make one of it first: `zthumb adapters convert --as lora`.")
    if arguments.into:
        fuse(arguments.into, pairs, arguments.out)
        print(f"{arguments.out}: {arguments.into} with {len(pairs)} adapters in its weights")
        for word in (word for adapter, _ in pairs for word in adapter.words):
            print(f"{arguments.out}: without the word {word.text!r}: weights have no place for it, its file is still needed")
        return DONE
    merged = merge(pairs)
    _write(resize(merged, arguments.rank).adapter if arguments.rank else merged, found[0], {}, arguments)
    return DONE


def _resize(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.resize import as_lora, resize

    if arguments.rank is None and arguments.keep == 1:
        raise BadInput("resize: say how small: --rank 8, or --keep 0.95, or both.")
    _check_file(arguments)
    found = _read(arguments.file, arguments)
    adapter = found.adapter
    if adapter.changes:
        whole = max(max(shape) for shape in found.base.shapes.values())
        adapter = as_lora(adapter, found.base, whole).adapter
    resized = resize(adapter, arguments.rank, arguments.keep)
    _write(resized.adapter, found, _told_by(arguments.file), arguments)
    _tell_kept(resized)
    return DONE


def _tell_kept(resized: Resized) -> None:
    kept = sorted(resized.kept.items(), key=lambda pair: pair[1])
    print(f"kept of each module's change: at least {kept[0][1]:.1%} ({kept[0][0]}), on average {_mean(kept):.1%}")
    _tell_notes(resized.adapter)


def _tell_notes(adapter: Adapter) -> None:
    for note in adapter.notes:
        print(f"note: {note}")


def _diff(arguments: argparse.Namespace) -> int:
    from zthumb.adapters.difference import difference

    both = [_read(file, arguments) for file in (arguments.first, arguments.second)]
    _check_one_base(both)
    found = difference(*(each.adapter for each in both))
    if arguments.json:
        print(json.dumps(asdict(found)))
        return DONE if found.is_none else FAILED
    for name, only in ((arguments.first, found.only_first), (arguments.second, found.only_second)):
        if only:
            print(f"only in {name}: {len(only)} modules, as {only[0]}")
    apart = "the first changes nothing" if found.apart is None else f"apart by {found.apart:.2%} of the first's norm"
    print(f"{len(found.both)} modules in both; {apart}, cosine {found.cosine:.4f}")
    if unlike := [path for path, each in found.both.items() if each.magnitudes is None or each.magnitudes > 1e-5]:
        print(f"the norms of a DoRA differ in {len(unlike)} modules, as {unlike[0]}")
    if not found.same_words:
        print("the words they bring are not the same")
    if found.is_none:
        print("they change the model alike")
        return DONE
    furthest = sorted(found.both.items(), key=lambda pair: pair[1].cosine)
    for path, each in furthest[:_SHOWN]:
        print(f"  cosine {each.cosine:7.4f}  norms {each.first:.3g} and {each.second:.3g}  {path}")
    return FAILED


def _read(file: Path, arguments: argparse.Namespace) -> Recognised:
    from zthumb.adapters.bases import recognise
    from zthumb.sources.bases import find_base

    return recognise(file, find_base(str(arguments.base)) if arguments.base else None)


def _write(adapter: Adapter, found: Recognised, told: Mapping[str, str], arguments: argparse.Namespace) -> None:
    from zthumb.adapters.layouts import save_diffusers, save_kohya

    adapter = _in(adapter, arguments.dtype)
    layout = arguments.to or "kohya"
    rank = max((layer.rank for layer in adapter.layers.values()), default=None)
    if rank is not None:
        told = {**told, "ss_network_dim": str(rank), "ss_network_alpha": str(rank)}
    if adapter.changes and layout == "diffusers":
        kinds = " and ".join(adapter.kinds)
        raise BadInput(f"--to diffusers: that layout holds LoRA alone, and this is {kinds}. Add --as lora, or take --to kohya.")
    _check_words(adapter, arguments.out)
    with atomic_file(arguments.out) as path:
        if layout == "kohya":
            save_kohya(adapter, path, found.base.layers_per_block, told)
        else:
            save_diffusers(adapter, path, told)
    _write_words(adapter, arguments.out)
    what = " and ".join(adapter.kinds) if rank is None else f"rank {rank} at most"
    print(f"{arguments.out}: {len(adapter.paths)} modules, {what}, {layout} layout")


def _check_words(adapter: Adapter, out: Path) -> None:
    if len(adapter.words) > 1:
        told = ", ".join(repr(word.text) for word in adapter.words)
        raise BadInput(f"{out}: the words {told} cannot be in one file: leave out all adapters but one that bring a word.")


def _write_words(adapter: Adapter, out: Path) -> None:
    """The word that the adapter brings, in a file of its own beside it; none of another adapter stays there."""
    file = out.with_name(f"{out.stem}{ENDING}")
    file.unlink(missing_ok=True)
    for word in adapter.words:
        with atomic_file(file) as path:
            save(word, path)
        print(f"{file}: the word {word.text!r}, {word.tokens} tokens")


def _told_by(file: Path) -> dict[str, str]:
    """What the header says of the adapter; not what it says of the file's bytes."""
    from zthumb.adapters import header

    return {key: value for key, value in header.read(file).metadata.items() if key not in _OF_THE_OLD_FILE}


def _check_free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise BadInput(f"{out}: is there already. Choose another --out, or replace it with --force.")


def _check_file(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    _check_free(out, arguments.force)
    if out.suffix != ".safetensors" or out.name.endswith(ENDING):
        raise BadInput(f"{out}: an adapter's name ends in .safetensors, and not in {ENDING}.")
    _check_free(out.with_name(f"{out.stem}{ENDING}"), arguments.force)


def _check_base(arguments: argparse.Namespace, files: list[Path]) -> None:
    """A base may take the place of another one, and of nothing that goes into it."""
    out: Path = arguments.out
    if unused := [name for name in ("rank", "to", "dtype", "base") if getattr(arguments, name)]:
        raise BadInput(f"--{unused[0]} is for an adapter; --into writes BASE, in the precision it has.")
    _check_free(out, arguments.force)
    if out.exists() and not (out / "model_index.json").is_file():
        raise BadInput(f"{out}: is no base model, and is not replaced by one. Choose another --out.")
    if any(each.resolve().is_relative_to(out.resolve()) for each in (arguments.into, *files)):
        raise BadInput(f"{out}: holds what goes into it. Choose another --out.")


def _check_one_base(found: list[Recognised]) -> None:
    if len(names := {each.base.name for each in found}) > 1:
        raise BadInput(f"the adapters are for different bases: {', '.join(sorted(names))}.")


def _in(adapter: Adapter, dtype: str | None) -> Adapter:
    """The adapter, its scales folded in, in another dtype; ``BadInput`` where its numbers do not fit."""
    if dtype is None:
        return adapter
    import torch

    from zthumb.adapters.adapter import Adapter

    wanted = getattr(torch, _DTYPES[dtype])
    layers = {path: layer.folded().to(wanted) for path, layer in adapter.layers.items()}
    changes = {path: change.in_dtype(wanted) for path, change in adapter.changes.items()}
    numbers = [each for layer in layers.values() for each in (layer.up, layer.down)]
    numbers += [each for change in changes.values() for each in change.tensors.values()]
    if not all(each.isfinite().all() for each in numbers):
        raise BadInput(f"--dtype {dtype}: some of the adapter's numbers are too large for it. Take bf16.")
    return Adapter(layers, adapter.words, changes, adapter.notes)


def _weighted(text: str) -> tuple[Path, float]:
    file, colon, number = text.rpartition(":")
    try:
        weight = float(number) if colon else 1.0
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(weight):
        raise BadInput(f"{text}: a weight is a number, as in {file}:0.8.")
    return Path(file if colon else text), weight


def _mean(kept: list[tuple[str, float]]) -> float:
    return sum(share for _, share in kept) / len(kept)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return value
