"""From what a person wrote beside an image to the caption the model is told."""

import re
from collections.abc import Mapping
from pathlib import Path

from foundation.errors import BadInput
from foundation.plugins import suggestion

_PRESET = re.compile(r"\[([\w-]+)\]")
_PLACEHOLDERS = ("trigger", "name")
_LONGEST_TAG = 4
"""Words; between commas, more than these make a clause and not a tag."""


def complete(caption: str, where: Path, template: str, trigger: str, presets: Mapping[str, str]) -> str:
    """``caption`` with its [presets] written out, its tags tidied, in the data set's ``template``.

    ``[trigger]`` and ``[name]``, which ai-toolkit fills in, are the ``trigger``, unless they are presets. Raises ``BadInput``
    naming ``where`` for a preset that is not there.
    """
    known = {**dict.fromkeys(_PLACEHOLDERS, trigger), **presets}
    written = _PRESET.sub(lambda found: _preset(found[1], where, known), caption)
    tidy = _tidy_tags(written) if is_tag_list(written) else written
    return " ".join(template.format(caption=tidy, trigger=trigger).split())


def is_tag_list(caption: str) -> bool:
    """Whether ``caption`` is words between commas, and not a sentence."""
    tags = caption.split(",")
    return len(tags) > 2 and all(len(tag.split()) <= _LONGEST_TAG for tag in tags)


def _tidy_tags(caption: str) -> str:
    """Each tag once, none empty, in the order they were written."""
    tags = (tag.strip() for tag in caption.split(","))
    return ", ".join(dict.fromkeys(tag for tag in tags if tag))


def _preset(name: str, where: Path, presets: Mapping[str, str]) -> str:
    if name not in presets:
        own = sorted(set(presets) - set(_PLACEHOLDERS))
        hint = suggestion(name, own) if own else "Define it under presets: in concept.yaml"
        raise BadInput(f"{where}: no preset is called [{name}]. {hint.rstrip('.')}, or leave the brackets out.")
    return presets[name]
