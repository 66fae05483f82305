"""``zthumb reproduce``: run a stage again from its manifest and compare its output byte for byte."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from foundation.errors import DONE, FAILED, BadInput, StageFailed
from foundation.files import read_json
from foundation.hashing import hash_file
from foundation.manifest import NAME as MANIFEST
from foundation.manifest import git_state, package_versions, platform_info
from zthumb.cli.file_difference import difference

RESULTS = "results.json"
DESCRIPTION = (
    "Run the stage that wrote MANIFEST again, in a temporary folder, and compare the outputs: byte for byte if they were made on "
    "a CPU, within a stated tolerance if on a GPU. Prints the first difference; exit code 1 if there is one."
)


@dataclass(frozen=True)
class ReproducibleStage:
    """A stage that can be run again: its module, and the option whose value names its output folder below ``parent``."""

    module: str
    folder_option: str
    parent: str = ""


STAGES: Mapping[str, ReproducibleStage] = MappingProxyType(
    {
        "prepare": ReproducibleStage("training.prepare_dataset", "--dataset"),
        "train": ReproducibleStage("training.train_lora", "--run", "outputs/lora"),
        "export": ReproducibleStage("training.export_lora", "--run", "models/lora"),
        "evaluate": ReproducibleStage("evaluation", "--run", "outputs/lora_eval"),
    }
)


@dataclass(frozen=True)
class Record:
    """The content of a manifest: the stage that wrote it, its environment, and the hashes of its outputs in ``folder``."""

    folder: Path
    stage: str
    command: tuple[str, ...]
    outputs: Mapping[str, str]
    device: str
    packages: Mapping[str, str]
    platform: Mapping[str, Any]
    arithmetic: Mapping[str, Any]
    git: Mapping[str, Any] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="a manifest.json, or a results.json next to one")
    parser.add_argument("--server", help="for an evaluation: use this server (default: start one)")


def run(arguments: argparse.Namespace) -> int:
    """Reproduce one stage; exit code 0 equal, 1 different or failed, 2 bad input."""
    record = read_record(arguments.manifest)  # 1. what was run
    for note in notes(record):  # 2. what has changed since
        print(f"reproduce: note: {note}")
    with tempfile.TemporaryDirectory() as temporary:
        new_output = mirror(record, Path.cwd(), Path(temporary))  # 3. a copy of this folder without the stage's output
        _run(_command(record, arguments.server), Path(temporary))  # 4. run the stage again
        differences = compare(record, new_output)  # 5. compare the outputs
    equal = len(record.outputs) - len(differences)
    print(f"reproduce: {equal} of {len(record.outputs)} files of {record.folder} are the same{_tolerance(record)}")
    for first in differences[:1]:
        print(f"reproduce: first difference: {first}")
    if differences and (cause := _changed_arithmetic(record, new_output)):
        print(f"reproduce: {cause}")
    return FAILED if differences else DONE


def _changed_arithmetic(record: Record, new_output: Path) -> str | None:
    """Return what has changed of the processor and its libraries, which alone changes the last bits; None if nothing has."""
    try:
        now: Mapping[str, Any] = read_json(new_output / MANIFEST)["arithmetic"]
    except (OSError, ValueError, KeyError):
        return None
    changes = [f"{name} was {then} and is {now.get(name)}" for name, then in record.arithmetic.items() if now.get(name) != then]
    if not changes:
        return None
    return (
        f"another processor can cause this: {', '.join(changes)}. With --set portable=true, the output has the same bytes on "
        "both."
    )


def read_record(path: Path) -> Record:
    """Read a manifest; ``BadInput`` says what is wrong with it."""
    manifest = path if path.name == MANIFEST else path.parent / MANIFEST
    try:
        content = read_json(manifest)
    except FileNotFoundError:
        raise BadInput(f"{manifest}: does not exist. Every finished stage has one.") from None
    except ValueError:
        raise BadInput(f"{manifest}: not valid JSON.") from None
    if (
        not isinstance(content, dict)
        or not {"command", "outputs", "packages", "platform"} <= content.keys()
        or not content["command"]
    ):
        raise BadInput(f"{manifest}: does not contain the command that wrote it. Run the stage again with --force.")
    stage = str(content.get("stage"))
    if stage not in STAGES or content["command"][0] != STAGES[stage].module:
        raise BadInput(f"{manifest}: not of a stage that can be run again; those are {', '.join(STAGES)}.")
    return Record(
        folder=manifest.parent,
        stage=stage,
        command=_split_options(content["command"]),
        outputs=content["outputs"],
        device=_device(manifest.parent, content["platform"].get("device", "cpu")),
        packages=content["packages"],
        platform=content["platform"],
        arithmetic=content.get("arithmetic", {}),
        git=content.get("git"),
    )


def _split_options(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with every option and value as two arguments: ``--run=a`` becomes ``--run a``."""
    parts: list[str] = []
    for argument in command:
        is_joined = argument.startswith("--") and "=" in argument
        parts += argument.split("=", 1) if is_joined else [argument]
    return tuple(parts)


def _device(folder: Path, recorded: str) -> str:
    """Return the device that made the output; an evaluation's images were made on the device of its server."""
    results = folder / RESULTS
    return str(read_json(results)["base"]["device"]) if results.is_file() else recorded


def notes(record: Record) -> list[str]:
    """Return what has changed since the manifest was written."""
    changes = []
    now: Mapping[str, Any] = {**package_versions(), **platform_info()}
    for name, then in {**record.packages, **record.platform}.items():
        if name != "device" and now.get(name) != then:
            changes.append(f"{name} was {then} and is {now.get(name)}")
    git = git_state()
    if record.git and git and record.git["commit"] != git["commit"]:
        changes.append(f"the code was at commit {record.git['commit']} and is at {git['commit']}")
    if record.git and record.git["dirty"]:
        changes.append("the code had uncommitted changes then")
    return changes


def mirror(record: Record, here: Path, mirrored: Path) -> Path:
    """Fill ``mirrored`` with links to the content of ``here``, but an empty output folder of the stage; return that folder.

    Raises ``BadInput`` unless the manifest is in the stage's output folder, relative to ``here``: nothing existing may be
    overwritten.
    """
    output, relative = _output_folder(record), _relative(record.folder, here)
    if output != relative:
        raise BadInput(
            f"{record.folder}: its stage writes to {output}, relative to this folder; run this from the folder it was run from."
        )
    source, target = here.resolve(), mirrored
    for part in relative.parts:
        _link_entries(source, target, exclude={part})
        source, target = source / part, target / part
        target.mkdir()
    if record.stage == "prepare":
        # The raw images are in the same folder as the output.
        outputs = {Path(name).parts[0] for name in record.outputs} | {MANIFEST}
        _link_entries(source, target, exclude=outputs)
    return target


def _relative(folder: Path, here: Path) -> Path:
    try:
        return folder.resolve().relative_to(here.resolve())
    except ValueError:
        raise BadInput(f"{folder}: is outside the folder that the stage was run from; run this from there.") from None


def _output_folder(record: Record) -> Path:
    """Return the folder that the command writes to."""
    stage, arguments = STAGES[record.stage], list(record.command[1:])
    options = enumerate(arguments[:-1])
    name = next((arguments[index + 1] for index, argument in options if argument == stage.folder_option), "")
    return Path(stage.parent, name)


def compare(record: Record, new_output: Path) -> list[str]:
    """Return one message per output that differs, in the order of the manifest: which file, and how it differs."""
    differences = []
    for name, digest in record.outputs.items():
        new = new_output / name
        if not new.is_file():
            differences.append(f"{name}: was not written this time")
        elif hash_file(new) != digest and (message := difference(record.folder / name, new, digest, record.device == "cuda")):
            differences.append(f"{name}: {message}")
    return differences


def _link_entries(source: Path, target: Path, exclude: set[str]) -> None:
    # A lock is not linked: the repeated stage writes elsewhere and takes its own, and a lock behind a link is refused.
    for entry in source.iterdir():
        if entry.name not in exclude and entry.suffix != ".lock":
            (target / entry.name).symlink_to(entry)


def _command(record: Record, server: str | None) -> list[str]:
    """Return the command to run, without the recorded address of a server, which no longer exists."""
    arguments = list(record.command[1:])
    if "--server" in arguments:
        index = arguments.index("--server")
        base = read_json(record.folder / RESULTS)["base"]["name"]
        arguments[index : index + 2] = ["--model", base]
    return [sys.executable, "-m", record.command[0], *arguments, *(["--server", server] if server else [])]


def _run(command: Sequence[str], folder: Path) -> None:
    code = subprocess.run(command, cwd=folder, check=False).returncode
    if code:
        raise StageFailed(f"the stage exited with code {code} this time: {' '.join(command[1:])}")


def _tolerance(record: Record) -> str:
    return " within the tolerance for a GPU" if record.device == "cuda" else " byte for byte"
