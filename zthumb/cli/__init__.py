"""The ``zthumb`` command; a module for each group of subcommands."""

import argparse
from collections.abc import Sequence

from foundation.errors import command
from foundation.offline import keep_quiet
from zthumb.cli import adapters, calibrate, convert, doctor, dummy, generate, reproduce, vram
from zthumb.server import main as server


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; exit code 0 success, 1 failure, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="zthumb",
        description="Generate images, serve a base model with its adapters, and inspect, convert and merge model files.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve a base model and its adapters over HTTP", description=server.DESCRIPTION)
    server.add_arguments(serve)
    serve.set_defaults(run=server.serve)
    generate_parser = commands.add_parser("generate", help="generate images here and now", description=generate.__doc__)
    generate.add_arguments(generate_parser)
    generate_parser.set_defaults(run=generate.run)
    adapters_parser = commands.add_parser("adapters", help="inspect, convert, merge, resize, diff", description=adapters.__doc__)
    adapters.add_commands(adapters_parser)
    convert_parser = commands.add_parser("convert", help="write a base's denoiser in another format", description=convert.__doc__)
    convert.add_commands(convert_parser)
    calibrate_parser = commands.add_parser("calibrate", help="lose less by eight bits", description=calibrate.__doc__)
    calibrate.add_arguments(calibrate_parser)
    calibrate_parser.set_defaults(run=calibrate.run)
    doctor_parser = commands.add_parser("doctor", help="what keeps this from working here", description=doctor.__doc__)
    doctor.add_arguments(doctor_parser)
    doctor_parser.set_defaults(run=doctor.run)
    dummy_parser = commands.add_parser("dummy", help="try a base's shapes with random weights", description=dummy.__doc__)
    dummy.add_arguments(dummy_parser)
    dummy_parser.set_defaults(run=dummy.run)
    vram_parser = commands.add_parser("vram", help="the memory that generating takes, before it starts", description=vram.__doc__)
    vram.add_arguments(vram_parser)
    vram_parser.set_defaults(run=vram.run)
    reproduce_parser = commands.add_parser(
        "reproduce", help="run a stage again and compare byte for byte", description=reproduce.DESCRIPTION
    )
    reproduce.add_arguments(reproduce_parser)
    reproduce_parser.set_defaults(run=reproduce.run)
    arguments = parser.parse_args(argv)
    keep_quiet()
    code: int = arguments.run(arguments)
    return code
