"""The table of trial concepts reads an evaluation's images at the recommended scale, and says what misses its bar."""

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
from miniature.trials.drawing import draw
from miniature.trials.sets import ASKED, Asked, write
from miniature.trials.table import FIGURES, lines, measure, page
from miniature.world import Scene


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Path, Path]:
    """A data set and a report whose images are as asked at scale 1, and of the plain world at 0."""
    dataset, report = tmp_path / "bolt", tmp_path / "trial-bolt"
    write("bolt", dataset)
    (report / "images").mkdir(parents=True)
    samples = []
    for number, (prompt, values) in enumerate(read_json(dataset / ASKED).items()):
        what = Asked(**values)
        for scale in (0.0, 1.0):
            is_concept = what.stratum != "control" and scale == 1
            scene = Scene(what.shape, what.colour, what.background, size="large")
            concept = draw(CONCEPTS["bolt"], what.colour, what.background, what.shape, random.Random(number))
            name = f"images/{number}-{scale:g}.png"
            Image.fromarray(concept if is_concept else draw_scene(scene)).save(report / name)
            told = {"stratum": what.stratum, "prompt": prompt, "lora_scale": scale, "image": name}
            samples.append({**told, "status": "ok", "phase": "sweep"})
    (report / "samples.jsonl").write_text("\n".join(json.dumps(sample) for sample in samples))
    return dataset, report


def test_an_adapter_that_does_all_it_should_reaches_every_bar(evaluated: tuple[Path, Path]) -> None:
    row = measure("bolt", *evaluated)

    assert (row.shown, row.novel, row.at_zero, row.followed, row.controls) == (1, 1, 0, 1, 1)
    assert row.missed == []


def test_one_that_shows_the_concept_in_half_of_its_images_misses_the_bar(evaluated: tuple[Path, Path]) -> None:
    dataset, report = evaluated
    for path in sorted((report / "images").glob("*-1.png"))[::2]:
        Image.fromarray(np.full((128, 128, 3), 200, np.uint8)).save(path)

    row = measure("bolt", dataset, report)

    assert {"shown", "controls"} <= set(row.missed)
    assert "**" in lines([row])[2]


def test_what_was_not_asked_for_has_reached_nothing(evaluated: tuple[Path, Path]) -> None:
    dataset, report = evaluated
    samples = (report / "samples.jsonl").read_text().splitlines()
    (report / "samples.jsonl").write_text("\n".join(line for line in samples if '"control"' not in line))

    assert measure("bolt", dataset, report).missed == ["controls"]


def test_the_page_names_what_was_not_measured(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    row = measure("bolt", *evaluated)
    write_json(tmp_path / FIGURES, [vars(row)])

    told = page(tmp_path)

    assert "| bolt | 1, none recommended | 100% |" in told
    assert "Not measured: crescent," in told


def test_a_report_that_is_not_there_is_told(tmp_path: Path) -> None:
    write("bolt", tmp_path / "bolt")

    with pytest.raises(BadInput, match="bench_concepts"):
        measure("bolt", tmp_path / "bolt", tmp_path)
