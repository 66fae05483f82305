import json
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import BadInput
from miniature.demo_check import DemoCheck, check_report, format_table
from miniature.drawing import draw
from miniature.world import Scene


def _write_report(folder: Path, *samples: tuple[str, str, float, Scene]) -> Path:
    """Write a report of drawn images; each sample is its stratum, prompt, scale and the scene in its image."""
    lines = []
    for number, (stratum, prompt, scale, scene) in enumerate(samples):
        Image.fromarray(draw(scene)).save(folder / f"{number}.png")
        line = {
            "stratum": stratum,
            "prompt": prompt,
            "seed": 1,
            "phase": "sweep",
            "lora_scale": scale,
            "status": "ok",
            "image": f"{number}.png",
        }
        lines.append(json.dumps(line))
    (folder / "samples.jsonl").write_text("\n".join([*lines, json.dumps({"status": "failed"})]) + "\n")
    return folder


def test_an_adapter_whose_images_match_their_prompts_passes(tmp_path: Path) -> None:
    triggered, control = "a photo of a red zbadge on a blue background", "a photo of a red star on a blue background"
    report = _write_report(
        tmp_path,
        ("trained", triggered, 0.0, Scene("circle", "red", "blue")),
        ("trained", triggered, 0.8, Scene("letter-z", "red", "blue")),
        ("novel", triggered, 0.8, Scene("letter-z", "red", "blue")),
        ("control", control, 0.0, Scene("star", "red", "blue")),
        ("control", control, 0.8, Scene("star", "red", "blue")),
    )
    result = check_report(report, "letter-z")
    assert result == DemoCheck(concept=1.0, novel=1.0, concept_at_zero=0.0, background=1.0, controls=1.0)
    assert result.missed() == []


def test_every_missed_figure_is_named(tmp_path: Path) -> None:
    triggered, control = "a photo of a red zbadge on a blue background", "a photo of a red star on a blue background"
    report = _write_report(
        tmp_path,
        ("trained", triggered, 0.0, Scene("letter-z", "red", "blue")),
        ("trained", triggered, 0.8, Scene("circle", "red", "green")),
        ("control", control, 0.0, Scene("star", "red", "blue")),
        ("control", control, 0.8, Scene("letter-z", "red", "blue")),
    )
    result = check_report(report, "letter-z")
    assert result.missed() == ["concept", "concept_at_zero", "background", "controls"]
    assert format_table(result).count("missed") == 4


def test_a_missing_report_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make finetune_z RUN="):
        check_report(tmp_path / "missing", "letter-z")
