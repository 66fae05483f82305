"""Adapters are found at any depth of the folder, under ids that never come to mean another adapter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from foundation.errors import BadInput
from zthumb.adapters.library import adapter_files, find, ids_of


def _put(root: Path, *names: str, output_name: str = "") -> None:
    for name in names:
        path = root / "lora" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": torch.zeros(1)}, path, {"ss_output_name": output_name} if output_name else None)


def _ids(root: Path) -> dict[str, str]:
    return {name: path.relative_to(root / "lora").as_posix() for name, path in ids_of(adapter_files(root), root).items()}


def test_files_at_any_depth_and_run_folders_each_have_an_id(tmp_path: Path) -> None:
    _put(tmp_path, "flat.safetensors", "style/people/deep.SAFETENSORS", "demo/demo.safetensors", "demo/demo-step-2.safetensors")
    _put(tmp_path, "demo/pytorch_lora_weights.safetensors", "peft/adapter_model.safetensors", "demo/demo_emb.safetensors")

    assert _ids(tmp_path) == {
        "demo": "demo/demo.safetensors",
        "demo/demo-step-2": "demo/demo-step-2.safetensors",
        "flat": "flat.safetensors",
        "peft": "peft/adapter_model.safetensors",
        "style/people/deep": "style/people/deep.SAFETENSORS",
    }


def test_ids_are_unique_and_stay_when_files_are_added(tmp_path: Path) -> None:
    _put(tmp_path, "style/a.safetensors")
    before = _ids(tmp_path)
    _put(tmp_path, "style/b.safetensors", "style.safetensors", "x.safetensors", "x.SAFETENSORS")

    after = _ids(tmp_path)

    assert before.items() <= after.items()
    assert len(set(after)) == len(after) == 5


@pytest.mark.parametrize("first", ["demo.safetensors", "demo/demo.safetensors"])
def test_an_id_never_comes_to_mean_another_adapter(tmp_path: Path, first: str) -> None:
    _put(tmp_path, first)
    assert _ids(tmp_path) == {"demo": first}
    _put(tmp_path, "demo.safetensors", "demo/demo.safetensors")

    ids = ids_of(adapter_files(tmp_path), tmp_path)

    assert sorted(ids) == ["demo.safetensors", "demo/demo.safetensors"]
    with pytest.raises(BadInput, match=r"names several adapters: demo\.safetensors, demo/demo\.safetensors"):
        find("demo", ids)


def test_links_out_of_the_folder_and_in_circles_are_skipped(tmp_path: Path) -> None:
    _put(tmp_path / "elsewhere", "a.safetensors")
    _put(tmp_path / "models", "b.safetensors")
    (tmp_path / "models" / "lora" / "out").symlink_to(tmp_path / "elsewhere" / "lora")
    (tmp_path / "models" / "lora" / "again").symlink_to(tmp_path / "models" / "lora")

    assert list(_ids(tmp_path / "models")) == ["b"]


def test_an_adapter_is_found_by_id_file_name_or_name_in_its_header_in_any_case(tmp_path: Path) -> None:
    _put(tmp_path, "style/Deep.safetensors")
    _put(tmp_path, "v2.safetensors", output_name="My Style")
    ids = ids_of(adapter_files(tmp_path), tmp_path)

    assert {find(name, ids).name for name in ("style/Deep", "style/deep", "deep", "deep.safetensors")} == {"Deep.safetensors"}
    assert find("my style", ids).name == "v2.safetensors"
    with pytest.raises(BadInput, match=r"Did you mean '(style/)?Deep'"):
        find("dep", ids)


def test_an_ambiguous_name_is_refused_with_the_ids_it_matches(tmp_path: Path) -> None:
    _put(tmp_path, "a/x.safetensors", "b/x.safetensors")

    with pytest.raises(BadInput, match="names several adapters: a/x, b/x"):
        find("x", ids_of(adapter_files(tmp_path), tmp_path))
