"""Check that everything an evaluation needs is available, before anything is trained for it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.features.concept_images import References, load_image, references_from_dataset
from evaluation.features.extractors import identify, unread_prompt
from evaluation.protocol.plan import Protocol, check_trigger_free, read_protocol
from evaluation.results import OUT
from foundation.errors import DONE, command
from foundation.files import check_can_write, check_disk_space

MIN_HELD_OUT = 3
"""With fewer held-out images an interval is so wide that a verdict can only be inconclusive or luck."""

_BYTES_PER_PIXEL = 4
"""Disk space for one pixel: at most three bytes in the stored image, the rest for the reports that show it smaller."""

_DEFAULT_EDGE = 1024
"""Width and height of an image if neither the prompts file nor a data set gives its size."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Check a prompts file, its extractors and the reference images; exit code 0 all available, 2 bad input.

    The message of a missing item says how to get it.
    """
    arguments = _parser().parse_args(argv)
    references = references_from_dataset(arguments.dataset) if arguments.dataset else None  # 1. the reference images
    trigger = references.trigger if references else arguments.trigger
    protocol = read_protocol(arguments.prompts, trigger)  # 2. the prompts
    if trigger:
        check_trigger_free(protocol, trigger)
    identities = [identify(extractor) for extractor in protocol.extractors]  # 3. the feature extractors
    check_can_write(OUT, "the report goes there")  # 4. where the report goes
    check_disk_space(OUT, _report_bytes(protocol, references), "the images of a report")
    names = ", ".join(identity.name for identity in identities)
    print(f"check: {arguments.prompts} and its extractors are available: {names}")
    for line in _verdict_outlook(references, protocol):  # 5. what the verdict can be
        print(f"check: {line}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaluation check", description=__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="the prompts file")
    parser.add_argument("--dataset", type=Path, help="the prepared data set; its reference images are opened and counted")
    parser.add_argument("--trigger", help="the trigger word, if there is no data set yet")
    return parser


def _verdict_outlook(references: References | None, protocol: Protocol) -> list[str]:
    """Return what can be said about the verdict before an adapter exists, one line per statement."""
    lines = []
    if references is not None:
        for path in references.held_out:
            load_image(path, references.background)
        lines.append(f"{len(references.held_out)} held-out images can be read")
        if len(references.held_out) < MIN_HELD_OUT:
            lines.append(
                f"warning: with {len(references.held_out)} held-out images a verdict can hardly be more than inconclusive; put "
                f"{MIN_HELD_OUT} or more images of the concept that are not trained on into reference/"
            )
    if not protocol.control:
        lines.append("warning: no prompt is free of the trigger, so drift cannot be measured and no scale will be recommended")
    if (prompt := unread_prompt(protocol.extractors, list(protocol.texts.values()))) is not None:
        lines.append(f"warning: no extractor reads the language of “{prompt}”, so prompt following cannot be measured")
    return lines


def _report_bytes(protocol: Protocol, references: References | None) -> int:
    count = (len(protocol.trained) + len(protocol.novel) + len(protocol.control)) * len(protocol.seeds) * len(protocol.scales)
    edge = references.resolution if references and references.resolution else _DEFAULT_EDGE
    return count * (protocol.width or edge) * (protocol.height or edge) * _BYTES_PER_PIXEL
