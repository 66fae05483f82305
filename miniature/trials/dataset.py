"""The data set of a trial concept, as a user would provide it: images with captions, held-out references, evaluation prompts."""

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
PROMPT_CONTENTS = "asked.json"
"""Next to the prompts: what each of them requests, so that no prompt has to be parsed."""

_POSITION_PHRASES = ("at the left", "at the right", "at the top", "at the bottom")
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
class PromptContent:
    """What one prompt requests."""

    stratum: str
    colour: str
    background: str
    shape: str


def write_dataset(name: str, folder: Path, seed: int = 0) -> None:
    """Write the images, references, trigger and prompts of the concept ``name`` to ``folder``."""
    concept = CONCEPTS[name]
    rng = random.Random(derive(seed, "trial", name))
    pairs = rng.sample(colour_pairs(concept), TRAINING + REFERENCES + 2 * PROMPTS)
    for number, (colour, background) in enumerate(pairs[: TRAINING + REFERENCES]):
        shape = SHAPES[number % len(SHAPES)]
        subfolder = folder / ("raw" if number < TRAINING else "reference")
        subfolder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(concept, colour, background, shape, rng)).save(subfolder / f"{number:02d}.png", optimize=True)
        if number < TRAINING:
            write_text(subfolder / f"{number:02d}.txt", concept.format_caption(colour, background, shape) + "\n")
    write_text(folder / "concept.yaml", f"trigger: {concept.trigger}\n")
    _write_prompts(concept, pairs[TRAINING + REFERENCES :], folder)


def _write_prompts(concept: Concept, pairs: list[tuple[str, str]], folder: Path) -> None:
    """Write prompts worded as the captions, in colour pairs that no image has; such prompts with positions; controls."""
    prompts: dict[str, list[str]] = {"trained": [], "novel": [], "control": []}
    contents: dict[str, PromptContent] = {}
    for number, (colour, background) in enumerate(pairs):
        stratum, shape = ("trained", "novel")[number // PROMPTS], SHAPES[number % len(SHAPES)]
        position = f" {_POSITION_PHRASES[number % len(_POSITION_PHRASES)]}" if stratum == "novel" else ""
        prompt = concept.format_caption(colour, background, shape, "{trigger}") + position
        prompts[stratum].append(prompt)
        contents[prompt.replace("{trigger}", concept.trigger)] = PromptContent(stratum, colour, background, shape)
    for colour, shape, background in _CONTROLS:
        prompts["control"].append(f"a photo of a {colour} {shape} on a {background} background")
        contents[prompts["control"][-1]] = PromptContent("control", colour, background, shape)
    settings = {"extractors": ["hog", "mini-clip"], "seeds": [101, 102], "scales": [0, 0.8, 1.0], "steps": 12, "cfg": 5}
    write_text(folder / "prompts.yaml", yaml.safe_dump({**prompts, **settings}, sort_keys=False, width=130))
    write_json(folder / PROMPT_CONTENTS, {prompt: asdict(content) for prompt, content in contents.items()})
