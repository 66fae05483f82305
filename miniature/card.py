"""Write the cards of the committed models and their hashes in the catalogue from the grades, never by hand."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from foundation.errors import BadInput
from foundation.files import atomic_file, read_json, write_text
from foundation.hashing import hash_files
from miniature import grade
from miniature.build import BUILD_RECORDS
from miniature.grade import TARGETS, Target
from zthumb import families
from zthumb.sources.local import family_of

CATALOGUE = Path("zthumb/sources/catalogue.yaml")
CLIP = "mini-clip"
CONTACT_SHEET = "contact-sheet.png"
GRADED_WEIGHTS = "weights.json"
"""Next to the grades: the hashes of the weights that were graded."""


def write_cards(models: Path, grades: Path, work: Path, catalogue: Path = CATALOGUE) -> None:
    """Write the cards, the contact sheets and the catalogue's entries.

    ``work`` is the folder in which models were built; the others keep their cards. Raises ``BadInput`` if the models were not
    graded or are below their targets: such weights must not be committed.
    """
    records = _read(work / BUILD_RECORDS)
    targets = {name: target for name, target in TARGETS.items() if name in records}
    base_grades = {name: _read(grades / f"{name}.json") for name in targets}
    for name, target in targets.items():
        if missed := grade.Grade(base_grades[name]).missed(target):
            raise BadInput(f"{grades / name}.json: below the target: {missed}. Train further before committing the weights.")
    hashes, graded = hash_weights(models), _read(grades / GRADED_WEIGHTS)
    if others := [name for name in (*targets, CLIP) if name in records and graded.get(name) != hashes[name]]:
        raise BadInput(
            f"{grades}: the grades of {', '.join(others)} are of other weights than those in {models}. "
            "Run `make grade_mini` again."
        )
    if CLIP in records:
        card = _clip_card(_read(grades / f"{CLIP}.json"), hashes[CLIP], records[CLIP])
        write_text(models / CLIP / "README.md", card)
    for name, target in targets.items():
        card = _base_card(models / name, base_grades[name], target, hashes[name], records[name])
        write_text(models / name / "README.md", card)
        with atomic_file(models / name / CONTACT_SHEET) as path:
            path.write_bytes((grades / f"{name}.png").read_bytes())
    _update_catalogue(models, hashes, catalogue)


def hash_weights(models: Path) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every weights file of the committed models."""
    return {name: hash_files(models / name, "*.safetensors") for name in (*TARGETS, CLIP)}


def _read(path: Path) -> Any:
    if not path.exists():
        raise BadInput(f"{path}: no such file. Run `make grade_mini` first.")
    return read_json(path)


def _update_catalogue(models: Path, hashes: dict[str, dict[str, str]], path: Path) -> None:
    """Write hashes and sizes into the catalogue; the other fields of the models' entries stay."""
    comment, text = path.read_text(encoding="utf-8").split("\n", 1)
    entries = yaml.safe_load(text)
    for name, files in hashes.items():
        entries[name]["files"] = {
            file: {"sha256": digest, "size": (models / name / file).stat().st_size} for file, digest in files.items()
        }
    write_text(path, comment + "\n" + yaml.safe_dump(entries, sort_keys=False, width=130))


_SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "mini-sdxl": """SDXL in small: the real classes, some ten million parameters, 128 px, a world of coloured shapes on
coloured backgrounds. It follows prompts, so a LoRA can be trained on it for real: on a laptop, with nothing to download.""",
        "mini-sdxl-turbo": """mini-sdxl in one to four steps and without guidance, as SDXL-Turbo is of SDXL: its UNet was
distilled from mini-sdxl's (latent consistency distillation, arXiv 2310.04378). All other components are links to mini-sdxl's.""",
        "mini-sd15": """The world of mini-sdxl in the classes of Stable Diffusion 1.5: one text encoder, no size
conditioning. It was initialized from what both have in common; tokenizer and autoencoder are links to mini-sdxl's.""",
        "mini-z-image": """The world of mini-sdxl in Z-Image's classes: a transformer of flow matching, and a causal language
model as text encoder. The autoencoder has mini-sdxl's weights. Guidance is counted from the prompt on: 3 is 4 elsewhere.""",
    }
)


def _base_card(base: Path, grades: dict[str, float], target: Target, hashes: dict[str, str], record: dict[str, Any]) -> str:
    family = families.get(family_of(base))
    tag = family.metadata(family.configuration(base, family.denoiser_component), "epsilon").tag
    required = {figure: f"{target.required[figure]:.0%}" if figure in target.required else "" for figure in grades}
    figures = "\n".join(f"| {figure} | {value:.1%} | {required[figure]} |" for figure, value in grades.items())
    return f"""---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
tags: [{tag}]
---

# {base.name}

{_SUMMARIES[base.name]}

`make mini_base` rebuilds it from seed {record["seed"]}; docs/miniature.md describes how.

![Images for the first prompts of the grade]({CONTACT_SHEET})

## Grade

Share of {grade.PROMPTS} prompts whose image matches the prompt, at {target.steps} steps and guidance
{target.guidance_scale:g}, measured from the pixels by geometry (`make grade_mini`).

| | reached | required |
|---|---:|---:|
{figures}

{_provenance(hashes, record)}"""


def _clip_card(retrieval: dict[str, float], hashes: dict[str, str], record: dict[str, Any]) -> str:
    return f"""---
license: mit
library_name: transformers
---

# mini-clip

An image tower fitted to the second text encoder of mini-sdxl: the extractor of image and text features that needs no download.
It knows mini-sdxl's world and nothing else.

| over 1,000 scenes it was not trained on | |
|---|---:|
| the image's caption ranks first among 100 | {retrieval["among_100"]:.1%} |
| the image's caption ranks above the one with the colours swapped | {retrieval["swapped_colours"]:.1%} |

{_provenance(hashes, record)}"""


def _provenance(hashes: dict[str, str], record: dict[str, Any]) -> str:
    versions = "\n".join(f"| {name} | {version} |" for name, version in record["packages"].items())
    files = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in hashes.items())
    return f"""## Provenance

| | |
|---|---|
| seed | {record["seed"]} |
| trained on | {record["device"]} |
{versions}

| file | SHA-256 |
|---|---|
{files}
"""
