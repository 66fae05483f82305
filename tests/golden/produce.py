"""``python -m tests.golden.produce FOLDER``: what the miniature makes of one small job, from a prompt to a verdict.

The recorded values lie beside this file. ``test_golden.py`` makes them again and compares.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from evaluation.main import main as evaluate_adapter
from foundation.arithmetic import arithmetic_info
from foundation.files import read_json, write_json
from foundation.manifest import package_versions
from miniature import concept
from tests.conftest import ROOT
from training import export_lora, prepare_dataset, train_lora
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.checkpoints.header import DIFFUSERS_FILE
from zthumb.generation.parameters import GenerationParams

RUN = "golden"
LEFT_OUT = ("environment", "title", "message", "reason", "sentence")
STEPS = 20
SETTINGS = [
    f"steps={STEPS}",
    "batch_size=2",
    "adapter.rank=2",
    "adapter.targets=attention",
    "prior.images=4",
    "prior.batch_size=2",
    "prior.steps=2",
    "checkpoint_every=20",
    "validation.strata=2",
    "validation.noises=1",
    "previews.prompts=[]",
]
PROMPTS = """\
trained: ['a photo of a red {trigger} on a blue background']
novel: ['a drawing of a green {trigger} at the left on a white background']
control: ['a photo of a blue star on a yellow background']
seeds: [1, 2]
scales: [0, 1.0]
extractors: [hog, mini-clip]
steps: 3
"""
IMAGE = GenerationParams(
    prompt="a photo of a red star on a blue background",
    negative_prompt="a drawing",
    width=128,
    height=128,
    seed=7,
    steps=8,
    guidance_scale=5.0,
)


def main(folder: Path) -> None:
    """Write the latents of one image, the losses of 20 steps, the exported adapter and one evaluation's results."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    save_file({"latents": latents(ROOT / "models" / "mini-sdxl")}, folder / "latents.safetensors")
    with TemporaryDirectory() as temporary:
        os.chdir(temporary)
        adapter = train(Path(temporary))
        write_json(folder / "losses.json", losses())
        shutil.copy(adapter, folder / "adapter.safetensors")
        write_json(folder / "results.json", figures(read_json(evaluate(adapter))))
    write_json(folder / "machine.json", {**arithmetic_info(), "packages": package_versions()})


def latents(base: Path) -> torch.Tensor:
    """The latents (1, 4, 16, 16) of ``IMAGE`` after its last step."""
    seen: list[torch.Tensor] = []
    backend = Backend(WeightsLocation(base, base), Options(precision="fp32"))
    backend.generate([IMAGE], lambda _, values: seen.append(values.clone()), {})
    return seen[-1].contiguous()


def train(folder: Path) -> Path:
    """Prepare the demo's data set, train for ``STEPS`` steps and export; the adapter's file in the diffusers layout."""
    (folder / "models").mkdir()
    for name in ("mini-sdxl", "mini-clip"):
        (folder / "models" / name).symlink_to(ROOT / "models" / name)
    concept.write("letter-z", "zbadge", folder / "z")
    sets = [part for value in SETTINGS for part in ("--set", value)]
    common = ["--dataset", "z"]
    _run(prepare_dataset.main(common))
    _run(train_lora.main([*common, "--run", RUN, *sets]))
    _run(export_lora.main([*common, "--run", RUN]))
    return Path("models") / "lora" / RUN / DIFFUSERS_FILE


def losses() -> list[float]:
    """The loss of every step, from the run's log."""
    lines = (Path("outputs") / "lora" / RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def evaluate(adapter: Path) -> Path:
    """The results of the adapter's evaluation, three prompts by two seeds by two scales."""
    Path("prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    options = ["--adapter", str(adapter), "--trigger", "zbadge", "--dataset", "z", "--prompts", "prompts.yaml", "--run", RUN]
    _run(evaluate_adapter(options))
    return Path("outputs") / "lora_eval" / RUN / "results.json"


def figures(results: Any) -> Any:
    """Return ``results`` without prose, and without the commit and the machine, which are not compared."""
    if isinstance(results, dict):
        return {key: figures(value) for key, value in results.items() if key not in LEFT_OUT}
    return [figures(value) for value in results] if isinstance(results, list) else results


def _run(code: int) -> None:
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
