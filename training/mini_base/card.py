"""The cards of the committed models, and their hashes in the catalogue: written from the grades, never by hand."""

from pathlib import Path
from typing import Any

import yaml

from foundation.errors import BadInput
from foundation.files import read_json, whole_file, write_text
from foundation.hashing import hash_files
from foundation.manifest import package_versions
from training.mini_base import grade
from training.mini_base.grade import REQUIRED

CATALOGUE = Path("zthumb/sources/catalogue.yaml")
SHEET = "contact-sheet.png"
GRADED = "weights.json"
"""Beside the grades: the hashes of the weights that were graded."""


def write(models: Path, grades: Path, seed: int, catalogue: Path = CATALOGUE) -> None:
    """Write both cards, the contact sheet and the catalogue's entries.

    Raises ``BadInput`` when the models were not graded, or are below the bar: such weights are not to be committed.
    """
    base, clip = _read(grades / "mini-sdxl.json"), _read(grades / "mini-clip.json")
    missed = grade.Grade(**base).missed()
    if missed:
        raise BadInput(f"{grades / 'mini-sdxl.json'}: below the bar: {missed}. Train on before committing the weights.")
    hashes = weights(models)
    if _read(grades / GRADED) != hashes:
        raise BadInput(f"{grades}: grades of other weights than those in {models}. Run `make grade_mini` again.")
    write_text(models / "mini-sdxl" / "README.md", _base_card(base, hashes["mini-sdxl"], seed))
    write_text(models / "mini-clip" / "README.md", _clip_card(clip, hashes["mini-clip"], seed))
    with whole_file(models / "mini-sdxl" / SHEET) as path:
        path.write_bytes((grades / "mini-sdxl.png").read_bytes())
    _catalogue(hashes, catalogue)


def weights(models: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every weights file of both models."""
    return {name: hash_files(models / name, "*.safetensors") for name in ("mini-sdxl", "mini-clip")}


def _read(path: Path) -> Any:
    if not path.exists():
        raise BadInput(f"{path}: not there. Run `make grade_mini` first.")
    return read_json(path)


def _catalogue(hashes: dict[str, dict[str, str]], path: Path) -> None:
    comment, entries = path.read_text(encoding="utf-8").split("\n", 1)
    values = yaml.safe_load(entries)
    for name, files in hashes.items():
        family = {"family": "sdxl"} if name == "mini-sdxl" else {}
        values[name] = {**family, "reference": f"models/{name}", "licence": "MIT", "files": files}
    write_text(path, comment + "\n" + yaml.safe_dump(values, sort_keys=False))


def _base_card(reached: dict[str, float], hashes: dict[str, str], seed: int) -> str:
    figures = "\n".join(f"| {name} | {value:.1%} | {REQUIRED[name]:.0%} |" for name, value in reached.items())
    return f"""---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion-xl]
---

# mini-sdxl

SDXL in small: the real classes, some ten million parameters, 128 px, a world of coloured shapes on coloured grounds. It follows
prompts, so a LoRA can truly teach it something, on a laptop, with nothing to download. `make mini_base` makes it again from seed
{seed}; docs/miniature.md tells how.

![Pictures for the first prompts of the grade]({SHEET})

## Grade

Share of {grade.PROMPTS} prompts whose picture shows what was asked for, at {grade.STEPS} steps and guidance
{grade.GUIDANCE_SCALE:g}, read off the pixels by geometry (`make grade_mini`).

| | reached | required |
|---|---:|---:|
{figures}

{_provenance(hashes, seed)}"""


def _clip_card(reached: dict[str, float], hashes: dict[str, str], seed: int) -> str:
    return f"""---
license: mit
library_name: transformers
---

# mini-clip

An image tower fitted to the second text encoder of mini-sdxl: the extractor of image and text features that needs no download.
It knows mini-sdxl's world and nothing else.

| over 1,000 scenes it was not trained on | |
|---|---:|
| the picture's caption comes first among 100 | {reached["among_100"]:.1%} |
| its own caption is preferred to the one with the colours swapped | {reached["swapped_colours"]:.1%} |

{_provenance(hashes, seed)}"""


def _provenance(hashes: dict[str, str], seed: int) -> str:
    versions = "\n".join(f"| {name} | {version} |" for name, version in package_versions().items())
    files = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in hashes.items())
    return f"""## Provenance

| | |
|---|---|
| seed | {seed} |
{versions}

| file | SHA-256 |
|---|---|
{files}
"""
