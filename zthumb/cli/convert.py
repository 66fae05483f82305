"""Convert a base's denoiser to a format that takes less memory, or put a base together from files of its components."""

from __future__ import annotations

import argparse
from pathlib import Path

from foundation.errors import DONE, BadInput
from zthumb.checkpoints.gguf import types


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``zthumb convert``."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="FORMAT")
    gguf = commands.add_parser("gguf", help="GGUF, only the denoiser", description="Convert a base's denoiser to GGUF.")
    gguf.add_argument("base", metavar="BASE", help="the base's folder, in the diffusers layout")
    gguf.add_argument("--type", default="q8_0", help=f"type of linear weights: {', '.join(types.WRITTEN)} (default: q8_0)")
    gguf.add_argument("--out", type=Path, help="the file to write (default: BASE.gguf)")
    gguf.add_argument(
        "--names",
        choices=("diffusers", "original"),
        default="diffusers",
        help="naming of tensors; ComfyUI-GGUF reads the original names",
    )
    gguf.add_argument("--force", action="store_true", help="overwrite OUT if it exists")
    gguf.set_defaults(run=_convert_to_gguf)
    base = commands.add_parser(
        "base",
        help="a base from files of its components",
        description="Put a base together from files of its components: transformer, text encoders, autoencoder.",
    )
    base.add_argument("base", metavar="BASE", help="the base that it is like, by any reference: what no FILE has is its own")
    base.add_argument("files", metavar="FILE", type=Path, nargs="+", help=".safetensors, or .gguf of a text encoder")
    base.add_argument("--out", type=Path, required=True, help="the folder to write")
    base.set_defaults(run=_convert_to_base)


def _convert_to_base(arguments: argparse.Namespace) -> int:
    from zthumb.sources.assembly import assemble
    from zthumb.sources.progress import bars
    from zthumb.sources.resolve import Resolver

    out: Path = arguments.out
    if out.exists():
        raise BadInput(f"{out}: already exists. Choose another --out, or delete it.")
    with bars() as on_progress:
        found = assemble(arguments.base, arguments.files, out, Resolver(watch=on_progress))
    for name, file in found.items():
        print(f"{name}: {file}")
    print(f"{out}: a base like {arguments.base}, of {len(found)} files of its components")
    return DONE


def _convert_to_gguf(arguments: argparse.Namespace) -> int:
    from zthumb import families
    from zthumb.backends.gguf import write_denoiser
    from zthumb.sources.bases import find_base
    from zthumb.sources.local import family_of

    types.parse_type(arguments.type)
    base = find_base(arguments.base)
    out: Path = arguments.out or base.with_name(f"{base.name}.gguf")
    if out.suffix != ".gguf":
        raise BadInput(f"--out {out}: the name of a GGUF file must end in .gguf.")
    if out.exists() and not arguments.force:
        raise BadInput(f"{out}: already exists. Choose another --out, or overwrite it with --force.")
    family = families.get(family_of(base))
    write_denoiser(base, family, arguments.type, out, has_original_names=arguments.names == "original")
    original = sum(path.stat().st_size for path in (base / family.denoiser_component).glob("*.safetensors"))
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, instead of {original / 2**20:.1f} MiB in {base}")
    return DONE
