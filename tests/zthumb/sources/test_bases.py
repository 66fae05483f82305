"""A base by whatever names it: a folder, one file, with another autoencoder."""

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
    """A models folder with the miniature and nothing else in it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mini-sdxl").symlink_to(ROOT / miniature)
    return folder


def test_a_folder_is_itself(models: Path) -> None:
    assert find_base("models/mini-sdxl") == Path("models/mini-sdxl")
    assert find_base("mini-sdxl") == Path("models/mini-sdxl")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("models/mini-sdxl-2", r"models/mini-sdxl-2: no base model is there\. Put one there"),
        ("models", "no base model is there"),
        ("nobody", "not in the catalogue"),
    ],
)
def test_what_is_no_base_says_how_to_get_one(models: Path, reference: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        find_base(reference)


def test_a_missing_miniature_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="make mini_base"):
        find_base("models/mini-sdxl")


def test_one_file_is_laid_out_as_the_very_base_it_was_made_of(models: Path) -> None:
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    folder = find_base("models/mini.safetensors")
    assert folder.parent == Path("models/unpacked")
    assert hash_base(folder) == hash_base(models / "mini-sdxl")


def test_one_file_is_laid_out_once_and_again_when_it_changes(models: Path) -> None:
    file = write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    first = find_base("models/mini.safetensors")
    made = (first / "unet").stat().st_mtime_ns
    assert find_base("models/mini.safetensors") == first
    assert (first / "unet").stat().st_mtime_ns == made
    tensors = load_file(file)
    tensors["model.diffusion_model.out.2.bias"] += 1
    save_file(tensors, file)
    second = find_base("models/mini.safetensors")
    assert second != first
    assert hash_base(second) != hash_base(first)


def test_a_file_trained_on_velocities_says_so(models: Path) -> None:
    mark = torch.zeros(0)
    write_single_file(models / "mini-sdxl", models / "v.safetensors", v_pred=mark, ztsnr=mark)
    told = read_json(find_base("models/v.safetensors") / "scheduler" / "scheduler_config.json")
    assert told["prediction_type"] == "v_prediction"
    assert told["rescale_betas_zero_snr"] is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("first_stage_model.quant_conv.bias"), "it lacks first_stage_model.quant_conv.bias"),
        (
            lambda tensors: tensors.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}),
            r"model.diffusion_model.out.2.bias is \(5,\), \(4,\) was expected",
        ),
        (lambda tensors: tensors.clear(), "not the checkpoint of a base that is known here: compared with "),
    ],
)
def test_a_file_of_something_else_says_what_is_amiss(models: Path, change: object, told: str) -> None:
    file = write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    tensors = load_file(file)
    assert callable(change)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(BadInput, match=told):
        find_base("models/mini.safetensors")
    assert not list(models.glob("unpacked/*"))


@pytest.mark.parametrize("name", ["mini.ckpt", "mini.safetensors"])
def test_a_file_that_cannot_be_read_is_refused_unopened(models: Path, name: str) -> None:
    (models / name).write_bytes(b"\x80\x04programs")
    with pytest.raises(BadInput, match="may hold programs" if name.endswith("ckpt") else "not a safetensors file"):
        find_base(f"models/{name}")


def test_without_room_for_it_nothing_is_laid_out(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(BadInput, match=r"and 1000 are free\. Make room first"):
        find_base("models/mini.safetensors")


def _other_autoencoder(models: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(models / "mini-sdxl" / "vae" / "diffusion_pytorch_model.safetensors")
    return {**tensors, "decoder.conv_out.bias": tensors["decoder.conv_out.bias"] + 0.5}


@pytest.mark.parametrize("form", ["folder", "diffusers' names", "published names", "with the whole's prefix"])
def test_another_autoencoder_takes_the_place_of_the_bases_own(models: Path, form: str) -> None:
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
    found = load_file(next((folder / "vae").glob("*.safetensors")))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert hash_base(folder) != hash_base(models / "mini-sdxl")
    assert (folder / "unet").resolve() == (models / "mini-sdxl" / "unet").resolve()


def test_a_file_without_an_autoencoder_is_refused(models: Path) -> None:
    save_file({"x": torch.zeros(1)}, models / "x.safetensors")
    with pytest.raises(BadInput, match="is no autoencoder for models/mini-sdxl: it lacks encoder"):
        find_base("models/mini-sdxl", "models/x.safetensors")
    assert [path for path in (models / "unpacked").iterdir() if path.suffix != ".lock"] == []


def test_a_resolver_of_its_own_lays_out_where_it_fetches_to(models: Path, tmp_path: Path) -> None:
    write_single_file(models / "mini-sdxl", tmp_path / "mini.safetensors")
    # Of another folder, which may only be read, comes what the file lacks; where it goes there is nothing yet
    resolver = Resolver(tmp_path / "fetched", beside=(models,))
    assert find_base(str(tmp_path / "mini.safetensors"), resolver=resolver).is_relative_to(tmp_path / "fetched")


def test_what_a_neighbour_predicts_is_not_what_a_file_predicts(models: Path, tmp_path: Path) -> None:
    # Given the only base of those shapes predicts velocities
    (models / "mini-sdxl").unlink()
    neighbour = models / "mini-v"
    shutil.copytree(ROOT / "models" / "mini-sdxl", neighbour)
    told = neighbour / "scheduler" / "scheduler_config.json"
    write_json(told, {**read_json(told), "prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
    write_single_file(neighbour, models / "plain.safetensors")
    # Then a file that does not say so predicts noise
    found = read_json(find_base("models/plain.safetensors") / "scheduler" / "scheduler_config.json")
    assert (found["prediction_type"], found["rescale_betas_zero_snr"]) == ("epsilon", False)


def test_the_same_file_by_another_path_is_not_laid_out_again(models: Path) -> None:
    first = find_base(str(write_single_file(models / "mini-sdxl", models / "one.safetensors")))
    made = (first / "unet").stat().st_mtime_ns
    (models / "other").mkdir()
    shutil.copy(models / "one.safetensors", models / "other" / "one.safetensors")
    assert find_base("models/other/one.safetensors").resolve() == first.resolve()
    assert find_base("models/one.safetensors").resolve() == first.resolve()
    assert (first / "unet").stat().st_mtime_ns == made


def test_a_folder_without_weights_is_no_autoencoder(models: Path) -> None:
    (models / "empty").mkdir()
    shutil.copy(models / "mini-sdxl" / "vae" / "config.json", models / "empty")
    with pytest.raises(BadInput, match="no autoencoder is there"):
        find_base("models/mini-sdxl", "models/empty")


def test_what_a_familys_reference_lacks_is_taken_from_a_neighbour(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reference with configurations alone, as SDXL's is
    reference = tmp_path / "stable-diffusion-xl-base-1.0"
    weights = shutil.ignore_patterns("*.safetensors", "tokenizer*")
    shutil.copytree(ROOT / "models" / "mini-sdxl", reference, ignore=weights)
    monkeypatch.setattr(type(SDXL), "reference", reference)
    write_single_file(models / "mini-sdxl", models / "mini.safetensors")
    # Then tokenizers are the neighbour's, and no hub is asked, which could not be reached from here
    assert hash_base(find_base("models/mini.safetensors")) == hash_base(models / "mini-sdxl")
