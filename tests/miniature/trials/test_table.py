"""The table of trial concepts measures an evaluation's images at the recommended scale, and marks shares below requirement."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.errors import BadInput
from foundation.files import read_json, write_json
from miniature.drawing import draw as draw_scene
from miniature.trials.concepts import CONCEPTS
from miniature.trials.dataset import PROMPT_CONTENTS, PromptContent, write_dataset
from miniature.trials.drawing import draw
from miniature.trials.table import FIGURES, format_rows, measure, render_page
from miniature.world import Scene


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Path, Path]:
    """A data set and a report whose images match their prompts at scale 1 and show the plain world at scale 0."""
    dataset, report = tmp_path / "bolt", tmp_path / "trial-bolt"
    write_dataset("bolt", dataset)
    (report / "images").mkdir(parents=True)
    samples = []
    for number, (prompt, values) in enumerate(read_json(dataset / PROMPT_CONTENTS).items()):
        content = PromptContent(**values)
        for scale in (0.0, 1.0):
            is_concept = content.stratum != "control" and scale == 1
            scene = Scene(content.shape, content.colour, content.background, size="large")
            concept = draw(CONCEPTS["bolt"], content.colour, content.background, content.shape, random.Random(number))
            name = f"images/{number}-{scale:g}.png"
            Image.fromarray(concept if is_concept else draw_scene(scene)).save(report / name)
            sample = {"stratum": content.stratum, "prompt": prompt, "lora_scale": scale, "image": name}
            samples.append({**sample, "status": "ok", "phase": "sweep"})
    (report / "samples.jsonl").write_text("\n".join(json.dumps(sample) for sample in samples))
    return dataset, report


def test_an_adapter_whose_images_match_their_prompts_meets_every_requirement(evaluated: tuple[Path, Path]) -> None:
    row = measure("bolt", *evaluated)

    assert (row.shown, row.novel, row.at_zero, row.followed, row.controls) == (1, 1, 0, 1, 1)
    assert row.missed == []


def test_an_adapter_that_shows_the_concept_in_half_of_its_images_misses_the_requirement(evaluated: tuple[Path, Path]) -> None:
    dataset, report = evaluated
    for path in sorted((report / "images").glob("*-1.png"))[::2]:
        Image.fromarray(np.full((128, 128, 3), 200, np.uint8)).save(path)

    row = measure("bolt", dataset, report)

    assert {"shown", "controls"} <= set(row.missed)
    assert "**" in format_rows([row])[2]


def test_a_report_without_control_prompts_misses_the_requirement_for_controls(evaluated: tuple[Path, Path]) -> None:
    dataset, report = evaluated
    samples = (report / "samples.jsonl").read_text().splitlines()
    (report / "samples.jsonl").write_text("\n".join(line for line in samples if '"control"' not in line))

    assert measure("bolt", dataset, report).missed == ["controls"]


def test_the_page_names_what_was_not_measured(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    row = measure("bolt", *evaluated)
    write_json(tmp_path / FIGURES, [vars(row)])

    page = render_page(tmp_path)

    assert "| bolt | 1, none recommended | 100% |" in page
    assert "Not measured: crescent," in page


def test_a_missing_report_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    write_dataset("bolt", tmp_path / "bolt")

    with pytest.raises(BadInput, match="bench_concepts"):
        measure("bolt", tmp_path / "bolt", tmp_path)
