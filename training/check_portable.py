"""``make check_portable``: are the demo's bytes, made portably, those that were committed?"""

import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.arithmetic import arithmetic_facts
from foundation.errors import DONE, FAILED, command
from foundation.files import read_json
from foundation.hashing import hash_file
from training import export_lora, prepare_dataset, train_lora
from training.export_lora import ADAPTERS
from zthumb.adapters.header import DIFFUSERS_FILE

DATASET, RUN = Path("datasets/z"), "portable"
EXPECTED = Path(__file__).parent / "portable.json"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train the demo portably and compare; exit code 0 the same bytes, 1 others. ``argv`` takes overrides of the recipe."""
    sets = [part for value in ("portable=true", *(argv or ())) for part in ("--set", value)]
    prepare_dataset.main(["--dataset", str(DATASET)])  # 1. the demo's pictures
    if code := train_lora.main(["--dataset", str(DATASET), "--run", RUN, *sets]):  # 2. portably
        return code
    export_lora.main(["--dataset", str(DATASET), "--run", RUN])  # 3. as it is given away
    made, expected = hash_file(ADAPTERS / RUN / DIFFUSERS_FILE), read_json(EXPECTED)["sha256"]
    print(f"check_portable: on {', '.join(f'{name} {value}' for name, value in arithmetic_facts().items())}")  # 4. say it
    print(f"check_portable: {made} {'is' if made == expected else f'is not {expected},'} what was committed")
    return DONE if made == expected else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
