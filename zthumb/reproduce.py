"""``zthumb reproduce``: a stage run again from its manifest, and its output compared byte for byte."""

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
from foundation.manifest import git_state, package_versions, platform_facts
from zthumb.difference import difference

RESULTS = "results.json"
DESCRIPTION = (
    "Run the stage that wrote MANIFEST again, beside what it wrote then, and compare: every byte of what was made on a CPU, "
    "within a tolerance that is told of what was made on a GPU. Names the first difference; exit code 1 where there is one."
)


@dataclass(frozen=True)
class Known:
    """A stage that can be run again: its module, and the option whose value names the folder ``below`` which it writes to."""

    module: str
    names: str
    below: str = ""


STAGES: Mapping[str, Known] = MappingProxyType(
    {
        "prepare": Known("training.prepare_dataset", "--dataset"),
        "train": Known("training.train_lora", "--run", "outputs/lora"),
        "export": Known("training.export_lora", "--run", "models/lora"),
        "evaluate": Known("evaluation", "--run", "outputs/lora_eval"),
    }
)


@dataclass(frozen=True)
class Record:
    """What a manifest tells: which stage wrote it, on what, and the hashes of what was written to ``folder``."""

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
    """What the command takes."""
    parser.add_argument("manifest", type=Path, help="a manifest.json, or a results.json beside one")
    parser.add_argument("--server", help="for an evaluation: ask this server (default: one that is started for it)")


def run(arguments: argparse.Namespace) -> int:
    """Reproduce one stage; exit code 0 the same, 1 not the same or failed, 2 bad input."""
    record = read_record(arguments.manifest)  # 1. what was done
    for note in notes(record):  # 2. on what else than now
        print(f"reproduce: note: {note}")
    with tempfile.TemporaryDirectory() as kept:
        again = mirror(record, Path.cwd(), Path(kept))  # 3. a place like this one, without what was made
        _run(_command(record, arguments.server), Path(kept))  # 4. once more
        faults = compare(record, again)  # 5. the same?
    same = len(record.outputs) - len(faults)
    print(f"reproduce: {same} of {len(record.outputs)} files of {record.folder} are the same{_how(record)}")
    for fault in faults[:1]:
        print(f"reproduce: the first that is not: {fault}")
    if faults and (cause := _other_arithmetic(record, again)):
        print(f"reproduce: {cause}")
    return FAILED if faults else DONE


def _other_arithmetic(record: Record, again: Path) -> str | None:
    """What of the processor and its libraries was another then, which alone changes the last bits; None where nothing was."""
    try:
        now: Mapping[str, Any] = read_json(again / MANIFEST)["arithmetic"]
    except (OSError, ValueError, KeyError):
        return None
    other = [f"{name} was {then} and is {now.get(name)}" for name, then in record.arithmetic.items() if now.get(name) != then]
    if not other:
        return None
    return (
        f"that is what another processor does: {', '.join(other)}. Made portably (--set portable=true), it is the same bytes on "
        "both."
    )


def read_record(path: Path) -> Record:
    """Read a manifest; ``BadInput`` says what is wrong with it."""
    manifest = path if path.name == MANIFEST else path.parent / MANIFEST
    try:
        told = read_json(manifest)
    except FileNotFoundError:
        raise BadInput(f"{manifest}: not there. A stage that was finished has one.") from None
    except ValueError:
        raise BadInput(f"{manifest}: not valid JSON.") from None
    if not isinstance(told, dict) or not {"command", "outputs", "packages", "platform"} <= told.keys() or not told["command"]:
        raise BadInput(f"{manifest}: does not tell the command that wrote it. Run the stage once more with --force.")
    stage = str(told.get("stage"))
    if stage not in STAGES or told["command"][0] != STAGES[stage].module:
        raise BadInput(f"{manifest}: not of a stage that can be run again; those are {', '.join(STAGES)}.")
    return Record(
        folder=manifest.parent,
        stage=stage,
        command=_split(told["command"]),
        outputs=told["outputs"],
        device=_device(manifest.parent, told["platform"].get("device", "cpu")),
        packages=told["packages"],
        platform=told["platform"],
        arithmetic=told.get("arithmetic", {}),
        git=told.get("git"),
    )


def _split(command: Sequence[str]) -> tuple[str, ...]:
    """The command with every option and its value apart, as ``--run=a`` are not."""
    parts: list[str] = []
    for each in command:
        is_joined = each.startswith("--") and "=" in each
        parts += each.split("=", 1) if is_joined else [each]
    return tuple(parts)


def _device(folder: Path, told: str) -> str:
    """What the output was made on: an evaluation's images on what its server ran on."""
    results = folder / RESULTS
    return str(read_json(results)["base"]["device"]) if results.is_file() else told


def notes(record: Record) -> list[str]:
    """What is not as it was when the manifest was written."""
    found = []
    now: Mapping[str, Any] = {**package_versions(), **platform_facts()}
    for name, then in {**record.packages, **record.platform}.items():
        if name != "device" and now.get(name) != then:
            found.append(f"{name} was {then} and is {now.get(name)}")
    git = git_state()
    if record.git and git and record.git["commit"] != git["commit"]:
        found.append(f"the code was at commit {record.git['commit']} and is at {git['commit']}")
    if record.git and record.git["dirty"]:
        found.append("the code had changes then that no commit holds")
    return found


def mirror(record: Record, here: Path, place: Path) -> Path:
    """Make ``place`` like ``here``, by links, but with an empty folder where the stage writes; that folder.

    ``BadInput`` unless that is where the manifest lies, relative to ``here``: nothing that is there may be written to.
    """
    written, relative = _written_to(record), _relative(record.folder, here)
    if written != relative:
        raise BadInput(
            f"{record.folder}: its stage writes to {written}, seen from here; run this from the folder it was run from."
        )
    source, target = here.resolve(), place
    for part in relative.parts:
        _link(source, target, leave_out={part})
        source, target = source / part, target / part
        target.mkdir()
    if record.stage == "prepare":
        # The raw images lie beside what is made of them.
        made = {Path(name).parts[0] for name in record.outputs} | {MANIFEST}
        _link(source, target, leave_out=made)
    return target


def _relative(folder: Path, here: Path) -> Path:
    try:
        return folder.resolve().relative_to(here.resolve())
    except ValueError:
        raise BadInput(f"{folder}: lies outside the folder that the stage was run from; run this from there.") from None


def _written_to(record: Record) -> Path:
    """Where the command writes to."""
    stage, arguments = STAGES[record.stage], list(record.command[1:])
    name = next((arguments[place + 1] for place, each in enumerate(arguments[:-1]) if each == stage.names), "")
    return Path(stage.below, name)


def compare(record: Record, again: Path) -> list[str]:
    """What is not the same, in the order of the manifest: where and how."""
    faults = []
    for name, digest in record.outputs.items():
        made = again / name
        if not made.is_file():
            faults.append(f"{name}: was not made again")
        elif hash_file(made) != digest and (told := difference(record.folder / name, made, digest, record.device == "cuda")):
            faults.append(f"{name}: {told}")
    return faults


def _link(source: Path, target: Path, leave_out: set[str]) -> None:
    for entry in source.iterdir():
        if entry.name not in leave_out:
            (target / entry.name).symlink_to(entry)


def _command(record: Record, server: str | None) -> list[str]:
    """The command; a server's address of then means nothing now."""
    arguments = list(record.command[1:])
    if "--server" in arguments:
        place = arguments.index("--server")
        base = read_json(record.folder / RESULTS)["base"]["name"]
        arguments[place : place + 2] = ["--model", base]
    return [sys.executable, "-m", record.command[0], *arguments, *(["--server", server] if server else [])]


def _run(command: Sequence[str], place: Path) -> None:
    code = subprocess.run(command, cwd=place, check=False).returncode
    if code:
        raise StageFailed(f"the stage ended with code {code} this time: {' '.join(command[1:])}")


def _how(record: Record) -> str:
    return " within the tolerance for a GPU" if record.device == "cuda" else " byte for byte"
