"""Train the demo with portable: true and compare the adapter's hash with the committed one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.arithmetic import arithmetic_info
from foundation.errors import DONE, FAILED, BadInput, command
from foundation.files import read_json, write_json
from foundation.hashing import hash_file
from training import export_lora, prepare_dataset, train_lora
from training.export_lora import ADAPTERS
from zthumb.checkpoints.header import DIFFUSERS_FILE

DATASET, RUN = Path("datasets/z"), "portable"
EXPECTED = Path(__file__).parent / "portable.json"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train the demo portably and compare the hash; exit code 0 the same bytes, 1 other bytes, 2 nothing to compare with."""
    parser = argparse.ArgumentParser(prog="python -m training.check_portable", description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe")
    parser.add_argument("--write", action="store_true", help="save the hash of this run as the one to compare with")
    arguments = parser.parse_args(argv)
    if not arguments.write and not EXPECTED.is_file():  # 1. is there anything to compare with
        raise BadInput(f"check_portable: {EXPECTED.name} is missing. Create it with --write, which takes as long as a training.")
    sets = [part for value in ("portable=true", *arguments.set) for part in ("--set", value)]
    stages = (prepare_dataset.main, train_lora.main, export_lora.main)
    options: tuple[list[str], ...] = ([], ["--run", RUN, *sets], ["--run", RUN])
    for stage, stage_options in zip(stages, options, strict=True):  # 2. train the demo portably
        if code := stage(["--dataset", str(DATASET), *stage_options]):
            return code
    actual = hash_file(ADAPTERS / RUN / DIFFUSERS_FILE)
    facts = arithmetic_info()
    print(f"check_portable: on {', '.join(f'{name} {value}' for name, value in facts.items())}")  # 3. what the bytes depend on
    if arguments.write:
        write_json(EXPECTED, {"sha256": actual, "made_on": facts})
        print(f"check_portable: {actual} is saved in {EXPECTED.name}")
        return DONE
    expected = read_json(EXPECTED)["sha256"]  # 4. compare
    print(f"check_portable: {actual} {'is' if actual == expected else f'is not {expected},'} the committed hash")
    return DONE if actual == expected else FAILED


if __name__ == "__main__":
    sys.exit(main())
