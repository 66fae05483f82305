"""What the preparation found, in lines for a terminal."""

from collections.abc import Iterator, Sequence

from foundation.trigger import contains_trigger
from training.data.dataset import Dataset, Entry


def lines(dataset: Dataset) -> Iterator[str]:
    """Counts first, then warnings, then what should be known of single images."""
    yield from _counts(dataset)
    yield from (f"note: {reading}" for reading in dataset.readings)
    yield from (f"warning: {text}" for text in _warnings(dataset))
    for entry in dataset.entries:
        yield from (f"note: {entry.source}: {note}" for note in entry.notes)
    for sources in dataset.alike:
        yield f"note: versions of one image: {', '.join(sources)}"
    for bad in dataset.left_out:
        yield f"left out: {bad.source}: {bad.reason}"


def _counts(dataset: Dataset) -> Iterator[str]:
    own = [*dataset.of("train"), *dataset.of("holdout")]
    named = sum(_calls(entry, dataset.trigger) for entry in own)
    yield f"{len(own)} images, trigger {dataset.trigger!r} in {named} captions"
    for name, count in dataset.counts().items():
        if isinstance(count, dict):
            yield f"{name}: {', '.join(f'{each} of {key}' for key, each in count.items())}"
        elif count:
            yield f"{name}: {count}"


def _warnings(dataset: Dataset) -> Iterator[str]:
    own, trigger = [*dataset.of("train"), *dataset.of("holdout")], dataset.trigger
    if without := [entry.source for entry in own if not _calls(entry, trigger)]:
        yield f"the caption does not contain the trigger: {', '.join(without)}"
    if named := _calling(dataset.of("regularization"), trigger):
        yield f"for regularization, but the caption contains the trigger: {', '.join(named)}"
    if len(own) > 2 and not dataset.of("holdout") and [len(group) for group in dataset.alike] == [len(own)]:
        yield "all images are versions of one, so none is held out"


def _calls(entry: Entry, trigger: str) -> bool:
    """Whether every caption of the image has the trigger word."""
    return all(contains_trigger(caption, trigger) for caption in entry.captions)


def _calling(entries: Sequence[Entry], trigger: str) -> list[str]:
    """The sources of those with a caption that has the trigger word."""
    return [entry.source for entry in entries if any(contains_trigger(caption, trigger) for caption in entry.captions)]
