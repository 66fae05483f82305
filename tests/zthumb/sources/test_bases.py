"""A base by any kind of reference: a folder, a single file, with another autoencoder."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from foundation.errors import BadInput
from foundation.files import read_json, write_json
from tests.conftest import ROOT
from tests.zthumb.published import SDXL, published, write_single_file
from zthumb.sources.bases import find_base
from zthumb.sources.local import hash_base
from zthumb.sources.resolve import Resolver


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: Path) -> Path:
    """Return a models folder that contains only the miniature."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mini-sdxl").symlink_to(ROOT / miniature)
    return folder


def test_a_folder_in_the_diffusers_layout_is_used_as_it_is(models: Path) -> None:
    assert find_base("models/mini-sdxl") == Path("models/mini-sdxl")
    assert find_base("mini-sdxl") == Path("models/mini-sdxl")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("models/mini-sdxl-2", r"models/mini-sdxl-2: there is no base model\. Put one there"),
        ("models", "is not a base model"),
        ("nobody", "not in the catalogue"),
    ],
)
def test_a_reference_to_no_base_is_an_error_with_advice(models: Path, reference: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        find_base(reference)


def test_the_error_for_a_missing_miniature_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="make mini_base"):
        find_base("models/mini-sdxl")


def test_a_single_file_is_converted_to_exactly_the_base_it_was_made_from(models: Path) -> None:
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    folder = find_base("models/mini.safetensors")
    assert folder.parent == Path("models/unpacked")
    assert hash_base(folder) == hash_base(models / "mini-sdxl")


def test_a_single_file_is_converted_once_and_again_when_it_changes(models: Path) -> None:
    file = write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    first = find_base("models/mini.safetensors")
    written_ns = (first / "unet").stat().st_mtime_ns
    assert find_base("models/mini.safetensors") == first
    assert (first / "unet").stat().st_mtime_ns == written_ns
    tensors = load_file(file)
    tensors["model.diffusion_model.out.2.bias"] += 1
    save_file(tensors, file)
    second = find_base("models/mini.safetensors")
    assert second != first
    assert hash_base(second) != hash_base(first)


def test_a_single_file_marked_as_v_prediction_gets_that_scheduler(models: Path) -> None:
    empty = torch.zeros(0)
    write_single_file(models / "mini-sdxl", models / "v.safetensors", v_pred=empty, ztsnr=empty)
    scheduler = read_json(find_base("models/v.safetensors") / "scheduler" / "scheduler_config.json")
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("first_stage_model.quant_conv.bias"), "it lacks first_stage_model.quant_conv.bias"),
        (
            lambda tensors: tensors.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}),
            r"model.diffusion_model.out.2.bias is \(5,\), expected \(4,\)",
        ),
        (lambda tensors: tensors.clear(), "is not the checkpoint of a supported base: compared with "),
    ],
)
def test_a_file_that_fits_no_base_is_an_error_that_names_the_tensor(models: Path, change: object, message: str) -> None:
    file = write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    tensors = load_file(file)
    assert callable(change)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(BadInput, match=message):
        find_base("models/mini.safetensors")
    assert not list(models.glob("unpacked/*"))


@pytest.mark.parametrize("name", ["mini.ckpt", "mini.safetensors"])
def test_a_file_that_is_not_safetensors_is_refused(models: Path, name: str) -> None:
    (models / name).write_bytes(b"\x80\x04programs")
    with pytest.raises(BadInput, match="may contain code" if name.endswith("ckpt") else "not a safetensors file"):
        find_base(f"models/{name}")


def test_without_enough_disk_space_nothing_is_converted(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(BadInput, match=r"and 1000 are free\. Free disk space first"):
        find_base("models/mini.safetensors")


def _other_autoencoder(models: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(models / "mini-sdxl" / "vae" / "diffusion_pytorch_model.safetensors")
    return {**tensors, "decoder.conv_out.bias": tensors["decoder.conv_out.bias"] + 0.5}


@pytest.mark.parametrize("form", ["folder", "diffusers' names", "published names", "with the checkpoint's prefix"])
def test_another_autoencoder_replaces_that_of_the_base(models: Path, form: str) -> None:
    tensors, path = _other_autoencoder(models), models / "other.safetensors"
    with torch.device("meta"):
        model = SDXL.build_component("vae", SDXL.configuration(models / "mini-sdxl", "vae"))
    if form == "folder":
        path = models / "other"
        shutil.copytree(models / "mini-sdxl" / "vae", path)
        save_file(tensors, path / "diffusion_pytorch_model.safetensors")
    elif form == "diffusers' names":
        save_file(tensors, path)
    else:
        prefix = "first_stage_model." if form.startswith("with") else ""
        save_file({prefix + name: tensor for name, tensor in published("vae", tensors, model).items()}, path)
    folder = find_base("models/mini-sdxl", f"models/{path.name}")
    assert find_base("models/mini-sdxl", f"models/{path.name}") == folder
    written = load_file(next((folder / "vae").glob("*.safetensors")))
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())
    assert hash_base(folder) != hash_base(models / "mini-sdxl")
    assert (folder / "unet").resolve() == (models / "mini-sdxl" / "unet").resolve()


def test_a_file_without_an_autoencoder_is_refused(models: Path) -> None:
    save_file({"x": torch.zeros(1)}, models / "x.safetensors")
    with pytest.raises(BadInput, match="is not an autoencoder for models/mini-sdxl: it lacks encoder"):
        find_base("models/mini-sdxl", "models/x.safetensors")
    assert [path for path in (models / "unpacked").iterdir() if path.suffix != ".lock"] == []


def test_a_resolver_converts_into_its_own_models_folder(models: Path, tmp_path: Path) -> None:
    write_single_file(models / "mini-sdxl", tmp_path / "mini.safetensors")
    # What the file lacks comes from another, read-only folder; the resolver's own folder is still empty
    resolver = Resolver(tmp_path / "downloads", beside=(models,))
    assert find_base(str(tmp_path / "mini.safetensors"), resolver=resolver).is_relative_to(tmp_path / "downloads")


def test_the_prediction_type_of_a_file_is_not_taken_from_a_base_with_the_same_shapes(models: Path, tmp_path: Path) -> None:
    # Given the only base of those shapes uses v-prediction
    (models / "mini-sdxl").unlink()
    local_base = models / "mini-v"
    shutil.copytree(ROOT / "models" / "mini-sdxl", local_base)
    configuration = local_base / "scheduler" / "scheduler_config.json"
    write_json(configuration, {**read_json(configuration), "prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
    write_single_file(local_base, models / "plain.safetensors")
    # Then a file without that mark predicts noise
    scheduler = read_json(find_base("models/plain.safetensors") / "scheduler" / "scheduler_config.json")
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == ("epsilon", False)


def test_the_same_file_under_another_path_is_not_converted_again(models: Path) -> None:
    first = find_base(str(write_single_file(models / "mini-sdxl", models / "one.safetensors")))
    written_ns = (first / "unet").stat().st_mtime_ns
    (models / "other").mkdir()
    shutil.copy(models / "one.safetensors", models / "other" / "one.safetensors")
    assert find_base("models/other/one.safetensors").resolve() == first.resolve()
    assert find_base("models/one.safetensors").resolve() == first.resolve()
    assert (first / "unet").stat().st_mtime_ns == written_ns


def test_a_folder_without_weights_is_not_an_autoencoder(models: Path) -> None:
    (models / "empty").mkdir()
    shutil.copy(models / "mini-sdxl" / "vae" / "config.json", models / "empty")
    with pytest.raises(BadInput, match="is not an autoencoder: expected"):
        find_base("models/mini-sdxl", "models/empty")


def test_tokenizers_that_a_reference_base_lacks_come_from_a_local_base(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reference base that has only configurations, as SDXL's has
    reference = tmp_path / "stable-diffusion-xl-base-1.0"
    weights = shutil.ignore_patterns("*.safetensors", "tokenizer*")
    shutil.copytree(ROOT / "models" / "mini-sdxl", reference, ignore=weights)
    monkeypatch.setattr(type(SDXL), "references", (reference,))
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    # Then the tokenizers are the local base's, without a request to the hub, which cannot be reached from here
    assert hash_base(find_base("models/mini.safetensors")) == hash_base(models / "mini-sdxl")
