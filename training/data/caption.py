"""Turn the caption in a file into the caption that the model is trained on: presets, tags and the template."""

import re
from collections.abc import Mapping
from pathlib import Path

from foundation.errors import BadInput
from foundation.plugins import suggestion

_PRESET = re.compile(r"\[([\w-]+)\]")
_PLACEHOLDERS = ("trigger", "name")
_MAX_TAG_WORDS = 4
"""A part between commas with more words than this is a clause and not a tag."""


def complete_caption(caption: str, source: Path, template: str, trigger: str, presets: Mapping[str, str]) -> str:
    """Return ``caption`` with its [presets] replaced and its tags tidied, in the data set's ``template``.

    ``[trigger]`` and ``[name]``, which ai-toolkit fills in, stand for the ``trigger``, unless presets have these names. Raises
    ``BadInput``, which names the file ``source``, for an unknown preset.
    """
    replacements = {**dict.fromkeys(_PLACEHOLDERS, trigger), **presets}
    replaced = _PRESET.sub(lambda match: _preset_text(match[1], source, replacements), caption)
    tidy = _tidy_tags(replaced) if is_tag_list(replaced) else replaced
    return " ".join(template.format(caption=tidy, trigger=trigger).split())


def is_tag_list(caption: str) -> bool:
    """Return whether ``caption`` is a comma-separated list of tags and not a sentence."""
    tags = caption.split(",")
    return len(tags) > 2 and all(len(tag.split()) <= _MAX_TAG_WORDS for tag in tags)


def _tidy_tags(caption: str) -> str:
    """Remove empty and repeated tags; the order stays."""
    tags = (tag.strip() for tag in caption.split(","))
    return ", ".join(dict.fromkeys(tag for tag in tags if tag))


def _preset_text(name: str, source: Path, replacements: Mapping[str, str]) -> str:
    if name not in replacements:
        presets = sorted(set(replacements) - set(_PLACEHOLDERS))
        hint = suggestion(name, presets) if presets else "Define it under presets: in concept.yaml"
        raise BadInput(f"{source}: no preset is called [{name}]. {hint.rstrip('.')}, or leave the brackets out.")
    return replacements[name]
