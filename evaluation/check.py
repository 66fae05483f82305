"""Whether everything an evaluation needs is here, before anything is trained for it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.extractors import identify
from evaluation.protocol import Protocol, check_trigger_free, read_protocol
from evaluation.references import References, load, of_dataset
from evaluation.results import OUT
from foundation.errors import DONE, command
from foundation.files import check_can_write, check_room

LEAST_HELD_OUT = 3
"""With fewer held-out images than these, an interval is so wide that a verdict can only be inconclusive or luck."""

_BYTES_PER_PIXEL = 4
"""Of an image as it is kept, three at most, and of the reports that show it smaller."""

_EDGE = 1024
"""Of an image where neither the prompts file nor a data set tells its size."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Look at a prompts file, its extractors and the references; exit code 0 all here, 2 bad input, told how to get it."""
    arguments = _parser().parse_args(argv)
    known = of_dataset(arguments.dataset) if arguments.dataset else None  # 1. what it is judged by
    trigger = known.trigger if known else arguments.trigger
    protocol = read_protocol(arguments.prompts, trigger)  # 2. what is asked for
    if trigger:
        check_trigger_free(protocol, trigger)
    found = [identify(each) for each in protocol.extractors]  # 3. what images are compared by
    check_can_write(OUT, "the report goes there")  # 4. where the report goes
    check_room(OUT, _bytes(protocol, known), "the images of a report")
    print(f"evaluate: {arguments.prompts} and its extractors are here: {', '.join(each.name for each in found)}")
    for line in _told(known, protocol):  # 5. what the verdict can be
        print(f"evaluate: {line}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaluation check", description=__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="the prompts file")
    parser.add_argument("--dataset", type=Path, help="the prepared data set, whose references are opened and counted")
    parser.add_argument("--trigger", help="the trigger word, where there is no data set yet")
    return parser


def _told(known: References | None, protocol: Protocol) -> list[str]:
    """What can be known of the verdict before an adapter is there."""
    lines = []
    if known is not None:
        for path in known.held_out:
            load(path, known.background)
        lines.append(f"{len(known.held_out)} held-out images can be read")
        if len(known.held_out) < LEAST_HELD_OUT:
            lines.append(
                f"warning: with {len(known.held_out)} held-out images a verdict can hardly be more than inconclusive; put "
                f"{LEAST_HELD_OUT} or more of the concept into reference/, none of which is trained on"
            )
    if not protocol.control:
        lines.append("warning: no prompt is free of the trigger, so that no drift can be measured and nothing is recommended")
    return lines


def _bytes(protocol: Protocol, known: References | None) -> int:
    count = (len(protocol.trained) + len(protocol.novel) + len(protocol.control)) * len(protocol.seeds) * len(protocol.scales)
    edge = known.resolution if known and known.resolution else _EDGE
    return count * (protocol.width or edge) * (protocol.height or edge) * _BYTES_PER_PIXEL
