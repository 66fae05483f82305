import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from foundation.hashing import hash_file
from foundation.verdict import Effect, Verdict, read_verdict, write_verdict
from tests.training.conftest import quick_arguments
from training import card, export_lora, train_lora
from training import recipe as recipes
from training.data.dataset import read_dataset
from zthumb import families
from zthumb.checkpoints import header
from zthumb.sources.local import hash_base

pytestmark = pytest.mark.slow


def test_a_finished_run_is_exported_in_both_layouts_with_its_card(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 0
    folder = Path("models/lora/a")
    assert {path.name for path in folder.iterdir()} == {
        "a.safetensors",
        "pytorch_lora_weights.safetensors",
        "README.md",
        "manifest.json",
    }
    metadata = header.read(folder / "a.safetensors").metadata
    assert metadata["ss_base_model_version"].startswith("sdxl_")
    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert metadata["ss_network_dim"] == metadata["ss_network_alpha"] == "8"
    assert len(metadata["ss_sd_model_hash"]) == 64
    assert "zbadge" in (folder / "README.md").read_text()
    capsys.readouterr()
    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_card_shows_base_and_adapter_side_by_side(prepared: Path) -> None:
    previews = 'previews.prompts=["a photo of a {trigger}", "a red star"]'
    train_lora.main(quick_arguments(prepared, "a", previews, "previews.steps=2", "validation.choose=last"))
    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 0
    folder = Path("models/lora/a")
    card = (folder / "README.md").read_text()
    front_matter = yaml.safe_load(card.split("---")[1])
    assert [image["text"] for image in front_matter["widget"]] == ["a photo of a zbadge", "a red star"]
    # A local path is not a model on the hub.
    assert front_matter["license"] == "mit"
    assert "base_model" not in front_matter
    assert {"diffusers", "template:sd-lora"} <= set(front_matter["tags"])
    images = re.findall(r"!\[\]\(([^)]+)\)", card)
    assert len(images) == 4
    assert all((folder / image).is_file() for image in images)
    run = Path("outputs/lora/a/previews")
    assert (folder / images[0]).read_bytes() == (run / "step-000000" / "01.png").read_bytes()
    assert (folder / images[1]).read_bytes() == (run / "step-000006" / "01.png").read_bytes()


def test_a_run_that_is_not_finished_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_lora.main(["--run", "gone", "--dataset", str(prepared)]) == 2
    assert "no finished training run" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--rank", "8"], ["--as", "lora", "--rank", "0"], ["--as", "lora", "--rank", "-3"]])
def test_a_rank_that_cannot_be_applied_is_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        export_lora.main(["--run", "a", "--dataset", "d", *options])
    assert exit_info.value.code == 2


def test_a_chosen_checkpoint_that_is_damaged_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_lora.main(quick_arguments(prepared, "a", "steps=2"))
    (adapter,) = Path("outputs/lora/a/checkpoints").glob("step-*/adapter.safetensors")
    adapter.write_bytes(adapter.read_bytes()[:-1])

    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 2
    assert "is gone or damaged" in capsys.readouterr().err
    assert not Path("models/lora/a").exists()


def test_the_card_lists_the_hashes_of_all_inputs_and_of_the_exported_files(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "a", "steps=2"))
    export_lora.main(["--run", "a", "--dataset", str(prepared)])
    folder = Path("models/lora/a")
    rows = dict(re.findall(r"\| SHA-256 of (.+) \| `(\w{64})` \|", (folder / "README.md").read_text()))
    assert rows == {
        "`a.safetensors`": hash_file(folder / "a.safetensors"),
        "`pytorch_lora_weights.safetensors`": hash_file(folder / "pytorch_lora_weights.safetensors"),
        "the base": hash_base(Path("models/mini-sdxl")),
        "the data set": hash_file(prepared / "dataset.json"),
    }


def test_another_base_than_it_was_trained_from_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_lora.main(quick_arguments(prepared, "a", "steps=2"))
    base = Path("models/mini-sdxl")
    here = base.resolve()
    base.unlink()
    shutil.copytree(here, base)
    settings = base / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text().replace("0.012", "0.013"))

    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 2
    assert "models/mini-sdxl: not the base that outputs/lora/a was trained from" in capsys.readouterr().err
    assert not Path("models/lora/a").exists()


@pytest.mark.parametrize(
    ("settings", "module", "network_args"),
    [
        ((), "networks.lora", {}),
        (
            ("adapter.targets=attention+feed-forward+convolution",),
            "networks.lora",
            {"conv_dim": "32", "conv_alpha": "32"},
        ),
        (("adapter.use_dora=true",), "lycoris.kohya", {"algo": "lora", "dora_wd": "True"}),
    ],
)
def test_the_header_says_which_network_type_it_is(
    prepared: Path, settings: tuple[str, ...], module: str, network_args: dict[str, str]
) -> None:
    recipe = recipes.load("mini", settings)
    metadata = card.header_metadata(
        recipe,
        read_dataset(prepared),
        "a",
        families.get("sdxl").metadata({}, "epsilon"),
        "0" * 64,
        step=2,
        stop_reason="every step was made",
        prediction="epsilon",
    )
    assert (metadata["ss_network_module"], json.loads(metadata["ss_network_args"])) == (module, network_args)


def test_every_checkpoint_option_exports_the_other_checkpoints_too(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_lora.main(quick_arguments(prepared, "a", "steps=6", "checkpoint_every=2", "validation.choose=last"))
    arguments = ["--run", "a", "--dataset", str(prepared), "--every-checkpoint"]
    assert export_lora.main(arguments) == 0
    folder = Path("models/lora/a")
    metadata = {path.name: header.read(path).metadata for path in folder.glob("a*.safetensors")}
    names, keys = ("a.safetensors", "a-step-000004.safetensors"), ("ss_steps", "ss_max_train_steps", "ss_training_comment")
    assert [[metadata[name][key] for key in keys] for name in names] == [
        ["6", "6", "every step was made"],
        ["4", "6", "every step was made; the weights are those of step 4"],
    ]
    capsys.readouterr()
    assert export_lora.main(arguments) == 0
    assert "up to date" in capsys.readouterr().out


def _verdict(folder: Path) -> Verdict:
    return Verdict(
        protocol_version=2,
        outcome="recommended",
        reason="the smallest of all",
        adapter="a",
        adapter_sha256=hash_file(folder / "a.safetensors"),
        base_sha256="b" * 64,
        lora_scale=0.8,
        metric="similarity",
        extractor="mini-clip",
        effect=Effect(mean=0.14, low=0.07, high=0.21, prompts=8),
        share_of_gap=0.8,
    )


def test_a_verdict_on_this_adapter_is_in_its_card_and_changes_nothing_else(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_lora.main(quick_arguments(prepared, "a", "steps=2"))
    arguments = ["--run", "a", "--dataset", str(prepared)]
    assert export_lora.main(arguments) == 0
    folder = Path("models/lora/a")
    adapter, before = (folder / "a.safetensors").read_bytes(), (folder / "README.md").read_text()
    Path("outputs/lora_eval/a").mkdir(parents=True)
    write_verdict(Path("outputs/lora_eval/a/verdict.json"), _verdict(folder))

    assert export_lora.main(arguments) == 0

    text = (folder / "README.md").read_text()
    assert "recommended at scale 0.8: similarity +0.140 [+0.070, +0.210] over the base (mini-clip)" in text
    metric = yaml.safe_load(text.split("---")[1])["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["value"], metric["args"]["low"]) == (0.14, 0.07)
    assert (folder / "a.safetensors").read_bytes() == adapter
    assert read_verdict(folder / "verdict.json") == _verdict(folder)
    capsys.readouterr()
    assert export_lora.main(arguments) == 0
    assert "up to date" in capsys.readouterr().out

    # A verdict on another adapter of the same name does not belong to this one.
    other = _verdict(folder).model_copy(update={"adapter_sha256": "c" * 64})
    write_verdict(Path("outputs/lora_eval/a/verdict.json"), other)
    assert export_lora.main(arguments) == 0
    assert (folder / "README.md").read_text() == before
    assert not (folder / "verdict.json").exists()
