"""Write a base's denoiser in a form that takes less memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from foundation.errors import DONE, BadInput
from zthumb.gguf import types


def add_commands(parser: argparse.ArgumentParser) -> None:
    """The subcommands of ``zthumb convert``."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="FORMAT")
    gguf = commands.add_parser("gguf", help="GGUF, the denoiser alone", description=__doc__)
    gguf.add_argument("base", metavar="BASE", help="the base's folder, in the diffusers layout")
    gguf.add_argument("--type", default="q8_0", help=f"of linear weights: {', '.join(types.WRITTEN)} (default: q8_0)")
    gguf.add_argument("--out", type=Path, help="the file to write (default: BASE.gguf)")
    gguf.add_argument(
        "--names", choices=("diffusers", "original"), default="diffusers", help="of tensors; ComfyUI-GGUF reads the original ones"
    )
    gguf.add_argument("--force", action="store_true", help="replace OUT if it is there")
    gguf.set_defaults(run=_gguf)


def _gguf(arguments: argparse.Namespace) -> int:
    from zthumb import families
    from zthumb.gguf.write import write
    from zthumb.sources.bases import find_base
    from zthumb.sources.local import family_of

    types.check(arguments.type)
    base = find_base(arguments.base)
    out: Path = arguments.out or base.with_name(f"{base.name}.gguf")
    if out.suffix != ".gguf":
        raise BadInput(f"--out {out}: a GGUF file's name ends in .gguf.")
    if out.exists() and not arguments.force:
        raise BadInput(f"{out}: is there already. Choose another --out, or replace it with --force.")
    family = families.get(family_of(base))
    write(base, family, arguments.type, out, has_original_names=arguments.names == "original")
    whole = sum(path.stat().st_size for path in (base / family.denoiser_component).glob("*.safetensors"))
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, of {whole / 2**20:.1f} MiB that {base} has")
    return DONE
