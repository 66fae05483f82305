"""The cards of the committed models, and their hashes in the catalogue: written from the grades, never by hand."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from foundation.errors import BadInput
from foundation.files import atomic_file, read_json, write_text
from foundation.hashing import hash_files
from miniature import grade
from miniature.build import BUILT
from miniature.grade import BARS, Bar

CATALOGUE = Path("zthumb/sources/catalogue.yaml")
SHEET = "contact-sheet.png"
GRADED = "weights.json"
"""Beside the grades: the hashes of the weights that were graded."""


def write(models: Path, grades: Path, work: Path, catalogue: Path = CATALOGUE) -> None:
    """Write the cards, the contact sheets and the catalogue's entries.

    ``work`` is the folder they were built in. Raises ``BadInput`` when the models were not graded, or are below the bar: such
    weights are not to be committed.
    """
    built = _read(work / BUILT)
    clip, reached = _read(grades / "mini-clip.json"), {name: _read(grades / f"{name}.json") for name in BARS}
    for name, bar in BARS.items():
        if missed := grade.Grade(**reached[name]).missed(bar):
            raise BadInput(f"{grades / name}.json: below the bar: {missed}. Train on before committing the weights.")
    hashes = weights(models)
    if _read(grades / GRADED) != hashes:
        raise BadInput(f"{grades}: grades of other weights than those in {models}. Run `make grade_mini` again.")
    write_text(models / "mini-clip" / "README.md", _clip_card(clip, hashes["mini-clip"], built["mini-clip"]))
    for name, bar in BARS.items():
        write_text(models / name / "README.md", _base_card(name, reached[name], bar, hashes[name], built[name]))
        with atomic_file(models / name / SHEET) as path:
            path.write_bytes((grades / f"{name}.png").read_bytes())
    _enter(models, hashes, catalogue)


def weights(models: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every weights file of the models that are committed."""
    return {name: hash_files(models / name, "*.safetensors") for name in (*BARS, "mini-clip")}


def _read(path: Path) -> Any:
    if not path.exists():
        raise BadInput(f"{path}: not there. Run `make grade_mini` first.")
    return read_json(path)


def _enter(models: Path, hashes: dict[str, dict[str, str]], path: Path) -> None:
    """Put hashes and sizes into the catalogue; what else it says of the models stays."""
    comment, entries = path.read_text(encoding="utf-8").split("\n", 1)
    values = yaml.safe_load(entries)
    for name, files in hashes.items():
        values[name]["files"] = {
            file: {"sha256": digest, "size": (models / name / file).stat().st_size} for file, digest in files.items()
        }
    write_text(path, comment + "\n" + yaml.safe_dump(values, sort_keys=False, width=130))


_ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "mini-sdxl": """SDXL in small: the real classes, some ten million parameters, 128 px, a world of coloured shapes on
coloured grounds. It follows prompts, so a LoRA can truly teach it something, on a laptop, with nothing to download.""",
        "mini-sdxl-turbo": """mini-sdxl in one to four steps and without guidance, as SDXL-Turbo is of SDXL: its UNet was
distilled from mini-sdxl's (latent consistency distillation, arXiv 2310.04378). All other parts are links to mini-sdxl's.""",
    }
)


def _base_card(name: str, reached: dict[str, float], bar: Bar, hashes: dict[str, str], made: dict[str, Any]) -> str:
    required = {figure: f"{bar.required[figure]:.0%}" if figure in bar.required else "" for figure in reached}
    figures = "\n".join(f"| {figure} | {value:.1%} | {required[figure]} |" for figure, value in reached.items())
    return f"""---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion-xl]
---

# {name}

{_ABOUT[name]}

`make mini_base` makes it again from seed {made["seed"]}; docs/miniature.md tells how.

![Images for the first prompts of the grade]({SHEET})

## Grade

Share of {grade.PROMPTS} prompts whose image shows what was asked for, at {bar.steps} steps and guidance
{bar.guidance_scale:g}, read off the pixels by geometry (`make grade_mini`).

| | reached | required |
|---|---:|---:|
{figures}

{_provenance(hashes, made)}"""


def _clip_card(reached: dict[str, float], hashes: dict[str, str], made: dict[str, Any]) -> str:
    return f"""---
license: mit
library_name: transformers
---

# mini-clip

An image tower fitted to the second text encoder of mini-sdxl: the extractor of image and text features that needs no download.
It knows mini-sdxl's world and nothing else.

| over 1,000 scenes it was not trained on | |
|---|---:|
| the image's caption comes first among 100 | {reached["among_100"]:.1%} |
| its own caption is preferred to the one with the colours swapped | {reached["swapped_colours"]:.1%} |

{_provenance(hashes, made)}"""


def _provenance(hashes: dict[str, str], made: dict[str, Any]) -> str:
    versions = "\n".join(f"| {name} | {version} |" for name, version in made["packages"].items())
    files = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in hashes.items())
    return f"""## Provenance

| | |
|---|---|
| seed | {made["seed"]} |
| trained on | {made["device"]} |
{versions}

| file | SHA-256 |
|---|---|
{files}
"""
