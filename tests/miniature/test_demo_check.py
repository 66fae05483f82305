import json
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import BadInput
from miniature.demo_check import DemoCheck, check, table
from miniature.drawing import draw
from miniature.world import Scene


def _report(folder: Path, *shown: tuple[str, str, float, Scene]) -> Path:
    """A report with drawn images: stratum, prompt, scale and what the image shows."""
    lines = []
    for number, (stratum, prompt, scale, scene) in enumerate(shown):
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


def test_a_good_adapter_passes(tmp_path: Path) -> None:
    asked, control = "a photo of a red zbadge on a blue background", "a photo of a red star on a blue background"
    report = _report(
        tmp_path,
        ("trained", asked, 0.0, Scene("circle", "red", "blue")),
        ("trained", asked, 0.8, Scene("letter-z", "red", "blue")),
        ("novel", asked, 0.8, Scene("letter-z", "red", "blue")),
        ("control", control, 0.0, Scene("star", "red", "blue")),
        ("control", control, 0.8, Scene("star", "red", "blue")),
    )
    reached = check(report, "letter-z")
    assert reached == DemoCheck(concept=1.0, novel=1.0, concept_at_zero=0.0, background=1.0, controls=1.0)
    assert reached.missed() == []


def test_each_fault_is_named(tmp_path: Path) -> None:
    asked, control = "a photo of a red zbadge on a blue background", "a photo of a red star on a blue background"
    report = _report(
        tmp_path,
        ("trained", asked, 0.0, Scene("letter-z", "red", "blue")),
        ("trained", asked, 0.8, Scene("circle", "red", "green")),
        ("control", control, 0.0, Scene("star", "red", "blue")),
        ("control", control, 0.8, Scene("letter-z", "red", "blue")),
    )
    reached = check(report, "letter-z")
    assert reached.missed() == ["concept", "concept_at_zero", "background", "controls"]
    assert table(reached).count("missed") == 4


def test_a_report_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make finetune_z RUN="):
        check(tmp_path / "gone", "letter-z")
