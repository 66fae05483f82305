"""Adapters are found wherever they lie in the folder, under ids that stay what they are."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from foundation.errors import BadInput
from zthumb.adapters.library import adapter_files, find, ids_of


def _put(root: Path, *names: str, told: str = "") -> None:
    for name in names:
        path = root / "lora" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": torch.zeros(1)}, path, {"ss_output_name": told} if told else None)


def _ids(root: Path) -> dict[str, str]:
    return {name: path.relative_to(root / "lora").as_posix() for name, path in ids_of(adapter_files(root), root).items()}


def test_flat_deep_and_run_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    _put(tmp_path, "flat.safetensors", "style/people/deep.SAFETENSORS", "demo/demo.safetensors", "demo/demo-step-2.safetensors")
    _put(tmp_path, "demo/pytorch_lora_weights.safetensors", "peft/adapter_model.safetensors", "demo/demo_emb.safetensors")

    assert _ids(tmp_path) == {
        "demo": "demo/demo.safetensors",
        "demo/demo-step-2": "demo/demo-step-2.safetensors",
        "flat": "flat.safetensors",
        "peft": "peft/adapter_model.safetensors",
        "style/people/deep": "style/people/deep.SAFETENSORS",
    }


def test_ids_stay_when_files_are_added_and_no_two_are_alike(tmp_path: Path) -> None:
    _put(tmp_path, "style/a.safetensors")
    before = _ids(tmp_path)
    _put(tmp_path, "style/b.safetensors", "style.safetensors", "x.safetensors", "x.SAFETENSORS")

    after = _ids(tmp_path)

    assert before.items() <= after.items()
    assert len(set(after)) == len(after) == 5


@pytest.mark.parametrize("first", ["demo.safetensors", "demo/demo.safetensors"])
def test_a_name_never_comes_to_mean_another_adapter(tmp_path: Path, first: str) -> None:
    _put(tmp_path, first)
    assert _ids(tmp_path) == {"demo": first}
    _put(tmp_path, "demo.safetensors", "demo/demo.safetensors")

    ids = ids_of(adapter_files(tmp_path), tmp_path)

    assert sorted(ids) == ["demo.safetensors", "demo/demo.safetensors"]
    with pytest.raises(BadInput, match=r"names several adapters: demo\.safetensors, demo/demo\.safetensors"):
        find("demo", ids)


def test_what_leads_out_of_the_folder_or_in_circles_is_none(tmp_path: Path) -> None:
    _put(tmp_path / "elsewhere", "a.safetensors")
    _put(tmp_path / "models", "b.safetensors")
    (tmp_path / "models" / "lora" / "out").symlink_to(tmp_path / "elsewhere" / "lora")
    (tmp_path / "models" / "lora" / "again").symlink_to(tmp_path / "models" / "lora")

    assert list(_ids(tmp_path / "models")) == ["b"]


def test_a_name_is_an_id_a_file_s_name_or_what_its_header_tells_capitals_or_not(tmp_path: Path) -> None:
    _put(tmp_path, "style/Deep.safetensors")
    _put(tmp_path, "v2.safetensors", told="My Style")
    ids = ids_of(adapter_files(tmp_path), tmp_path)

    assert {find(name, ids).name for name in ("style/Deep", "style/deep", "deep", "deep.safetensors")} == {"Deep.safetensors"}
    assert find("my style", ids).name == "v2.safetensors"
    with pytest.raises(BadInput, match=r"Did you mean '(style/)?Deep'"):
        find("dep", ids)


def test_a_name_of_several_is_refused_with_their_ids(tmp_path: Path) -> None:
    _put(tmp_path, "a/x.safetensors", "b/x.safetensors")

    with pytest.raises(BadInput, match="names several adapters: a/x, b/x"):
        find("x", ids_of(adapter_files(tmp_path), tmp_path))
