"""A trial concept's data set as a person would hand it in: images with captions, held-out references, prompts to ask with."""

import random
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from PIL import Image

from foundation.files import write_json, write_text
from foundation.seeds import derive
from miniature.trials.concepts import CONCEPTS, Concept, colour_pairs
from miniature.trials.drawing import draw
from miniature.world import SHAPES

TRAINING, REFERENCES, PROMPTS = 13, 6, 8
ASKED = "asked.json"
"""Beside the prompts: what each of them asks for, so that no caption's grammar has to be read back."""

_PLACES = ("at the left", "at the right", "at the top", "at the bottom")
_CONTROLS = (
    ("red", "star", "blue"),
    ("white", "cross", "purple"),
    ("blue", "ring", "orange"),
    ("cyan", "square", "red"),
    ("yellow", "triangle", "green"),
    ("pink", "heart", "black"),
    ("green", "circle", "white"),
    ("purple", "diamond", "yellow"),
)


@dataclass(frozen=True)
class Asked:
    """What one prompt asks for."""

    stratum: str
    colour: str
    background: str
    shape: str


def write(name: str, folder: Path, seed: int = 0) -> None:
    """Write the images, references, trigger and prompts of the concept ``name`` to ``folder``."""
    concept = CONCEPTS[name]
    rng = random.Random(derive(seed, "trial", name))
    pairs = rng.sample(colour_pairs(concept), TRAINING + REFERENCES + 2 * PROMPTS)
    for number, (colour, background) in enumerate(pairs[: TRAINING + REFERENCES]):
        shape = SHAPES[number % len(SHAPES)]
        part = folder / ("raw" if number < TRAINING else "reference")
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(concept, colour, background, shape, rng)).save(part / f"{number:02d}.png", optimize=True)
        if number < TRAINING:
            write_text(part / f"{number:02d}.txt", concept.told(colour, background, shape) + "\n")
    write_text(folder / "concept.yaml", f"trigger: {concept.trigger}\n")
    _write_prompts(concept, pairs[TRAINING + REFERENCES :], folder)


def _write_prompts(concept: Concept, pairs: list[tuple[str, str]], folder: Path) -> None:
    """Prompts in the captions' words and in colours that no image has; the same at places; controls without the trigger."""
    prompts: dict[str, list[str]] = {"trained": [], "novel": [], "control": []}
    asked: dict[str, Asked] = {}
    for number, (colour, background) in enumerate(pairs):
        stratum, shape = ("trained", "novel")[number // PROMPTS], SHAPES[number % len(SHAPES)]
        place = f" {_PLACES[number % len(_PLACES)]}" if stratum == "novel" else ""
        prompt = concept.told(colour, background, shape, "{trigger}") + place
        prompts[stratum].append(prompt)
        asked[prompt.replace("{trigger}", concept.trigger)] = Asked(stratum, colour, background, shape)
    for colour, shape, background in _CONTROLS:
        prompts["control"].append(f"a photo of a {colour} {shape} on a {background} background")
        asked[prompts["control"][-1]] = Asked("control", colour, background, shape)
    settings = {"extractors": ["hog", "mini-clip"], "seeds": [101, 102], "scales": [0, 0.8, 1.0], "steps": 12, "cfg": 5}
    write_text(folder / "prompts.yaml", yaml.safe_dump({**prompts, **settings}, sort_keys=False, width=130))
    write_json(folder / ASKED, {prompt: asdict(what) for prompt, what in asked.items()})
