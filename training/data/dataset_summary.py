"""The result of the preparation, in lines for a terminal."""

from collections.abc import Iterator, Sequence

from foundation.trigger import contains_trigger
from training.data.dataset import Dataset, Entry


def summary_lines(dataset: Dataset) -> Iterator[str]:
    """Yield the counts, then warnings, then notes on single images."""
    yield from _counts(dataset)
    yield from (f"note: {reading}" for reading in dataset.readings)
    yield from (f"warning: {text}" for text in _warnings(dataset))
    for entry in dataset.entries:
        yield from (f"note: {entry.source}: {note}" for note in entry.notes)
    for sources in dataset.alike:
        yield f"note: duplicates: {', '.join(sources)}"
    for image in dataset.left_out:
        yield f"left out: {image.source}: {image.reason}"


def _counts(dataset: Dataset) -> Iterator[str]:
    entries = [*dataset.of("train"), *dataset.of("holdout")]
    with_trigger = sum(_has_trigger(entry, dataset.trigger) for entry in entries)
    yield f"{len(entries)} images, trigger {dataset.trigger!r} in {with_trigger} captions"
    for name, count in dataset.counts().items():
        if isinstance(count, dict):
            yield f"{name}: {', '.join(f'{number} of {key}' for key, number in count.items())}"
        elif count:
            yield f"{name}: {count}"


def _warnings(dataset: Dataset) -> Iterator[str]:
    entries, trigger = [*dataset.of("train"), *dataset.of("holdout")], dataset.trigger
    if without_trigger := [entry.source for entry in entries if not _has_trigger(entry, trigger)]:
        yield f"the caption does not contain the trigger: {', '.join(without_trigger)}"
    if with_trigger := _sources_with_trigger(dataset.of("regularization"), trigger):
        yield f"for regularization, but the caption contains the trigger: {', '.join(with_trigger)}"
    if len(entries) > 2 and not dataset.of("holdout") and [len(group) for group in dataset.alike] == [len(entries)]:
        yield "all images are duplicates of one, so none is held out"


def _has_trigger(entry: Entry, trigger: str) -> bool:
    """Return whether every caption of the image contains the trigger word."""
    return all(contains_trigger(caption, trigger) for caption in entry.captions)


def _sources_with_trigger(entries: Sequence[Entry], trigger: str) -> list[str]:
    """Return the sources of the entries with a caption that contains the trigger word."""
    return [entry.source for entry in entries if any(contains_trigger(caption, trigger) for caption in entry.captions)]
