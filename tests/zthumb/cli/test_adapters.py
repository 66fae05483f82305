"""``zthumb adapters`` as run from the command line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MINIATURE
from tests.zthumb.adapters.conftest import random_layer
from zthumb import families
from zthumb.adapters import reader, textual_inversion
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.distance import difference
from zthumb.adapters.layouts import save_kohya
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.textual_inversion import LearnedEmbedding
from zthumb.checkpoints import header
from zthumb.cli import main

BASE = ["--base", str(MINIATURE)]


def test_inspect_prints_the_kind_the_layout_and_the_base_that_fits(
    saved: Path, adapter: Adapter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without --base, the reference bases and those in the models folder are tried.
    monkeypatch.chdir(MINIATURE.parent.parent)
    assert main(["adapters", "inspect", str(saved), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["fits"], summary["layout"], summary["kind"]) == ("mini-sdxl", "kohya", "LoRA")
    assert sum(summary["modules"].values()) == len(adapter.layers)
    assert set(summary["modules"]) == {"unet", "text_encoder", "text_encoder_2"}
    assert summary["metadata"] == {"ss_output_name": "a"}
    assert main(["adapters", "inspect", str(saved)]) == 0
    assert "LoRA in the kohya layout" in capsys.readouterr().out


def test_an_adapter_of_full_size_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zthumb import families
    from zthumb.adapters import module_shapes

    sdxl = families.get("sdxl")
    base = module_shapes.of_folder("sdxl", sdxl.references[0], sdxl)
    # The counts of SDXL base 1.0: 794 linear and convolution modules in the UNet, 12 and 32 text layers of 6, one projection.
    counts = {component: sum(name.startswith(f"{component}.") for name in base.shapes) for component in sdxl.adapted_components}
    assert counts == {
        "unet": 794,
        "text_encoder": 72,
        "text_encoder_2": 193,
    }
    name = "unet.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k"
    save_kohya(Adapter({name: random_layer(base, name)}), tmp_path / "x.safetensors", base.family, base.denoiser_config, {})
    assert "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_k.alpha" in header.read(tmp_path / "x.safetensors").shapes
    assert main(["adapters", "inspect", str(tmp_path / "x.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] == "stable-diffusion-xl-base-1.0"


def test_converting_to_diffusers_and_back_changes_nothing(saved: Path, base: ModuleShapes, tmp_path: Path) -> None:
    diffusers, kohya = tmp_path / "diffusers.safetensors", tmp_path / "kohya.safetensors"
    assert main(["adapters", "convert", str(saved), "--to", "diffusers", "--out", str(diffusers), *BASE]) == 0
    assert main(["adapters", "convert", str(diffusers), "--to", "kohya", "--out", str(kohya), *BASE]) == 0
    for file in (diffusers, kohya):
        assert difference(reader.load(file, base), reader.load(saved, base)).is_none
    assert header.read(diffusers).metadata["ss_output_name"] == "a"
    assert header.read(kohya).shapes == header.read(saved).shapes


def test_merge_takes_weights_and_a_rank(saved: Path, adapter: Adapter, base: ModuleShapes, tmp_path: Path) -> None:
    out = tmp_path / "merged.safetensors"
    assert main(["adapters", "merge", f"{saved}:0.5", f"{saved}:0.25", "--out", str(out), *BASE]) == 0
    expected = Adapter({path: Layer(layer.down, layer.up, layer.scale * 0.75) for path, layer in adapter.layers.items()})
    assert difference(reader.load(out, base), expected).is_none
    assert main(["adapters", "merge", f"{saved}:0.5", str(saved), "--rank", "2", "--out", str(out), "--force", *BASE]) == 0
    assert max(layer.rank for layer in reader.load(out, base).layers.values()) == 2


def test_resize_prints_the_share_that_is_kept(
    saved: Path, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.safetensors"
    assert main(["adapters", "resize", str(saved), "--rank", "1", "--out", str(out), *BASE]) == 0
    assert "kept of each module's change: at least" in capsys.readouterr().out
    assert {layer.rank for layer in reader.load(out, base).layers.values()} == {1}
    assert out.stat().st_size < saved.stat().st_size
    assert header.read(out).metadata["ss_network_dim"] == "1"


def test_learned_tokens_are_carried_over_with_their_adapter(
    saved: Path, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = {name: torch.full((2, 128), value) for name, value in (("text_encoder", 0.5), ("text_encoder_2", 0.25))}
    textual_inversion.save(LearnedEmbedding("zbadge", vectors), saved.with_name("a_emb.safetensors"), families.get("sdxl"))
    small, merged, plain = (tmp_path / f"{name}.safetensors" for name in ("small", "merged", "plain"))
    assert main(["adapters", "resize", str(saved), "--rank", "1", "--out", str(small), *BASE]) == 0
    assert main(["adapters", "merge", str(small), str(saved), "--out", str(merged), *BASE]) == 2
    assert "use only one adapter that has learned tokens" in capsys.readouterr().err
    assert not merged.exists()
    textual_inversion.embedding_file_of(small).unlink()  # type: ignore[union-attr]
    assert main(["adapters", "merge", str(small), str(saved), "--out", str(merged), *BASE]) == 0
    (embedding,) = reader.load(merged, base).embeddings
    assert torch.equal(embedding.vectors["text_encoder_2"], vectors["text_encoder_2"])

    assert main(["adapters", "inspect", str(merged), *BASE]) == 0
    assert "zbadge (2 tokens)" in capsys.readouterr().out
    plain.write_bytes(merged.read_bytes())
    assert main(["adapters", "diff", str(merged), str(plain), *BASE]) == 1
    assert "their learned tokens differ" in capsys.readouterr().out
    # Replacing an adapter with --force also deletes its embedding file.
    assert main(["adapters", "convert", str(plain), "--out", str(merged), "--force", *BASE]) == 0
    assert textual_inversion.embedding_file_of(merged) is None


def test_the_exit_code_of_diff_says_whether_they_differ(
    saved: Path, adapter: Adapter, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smaller = tmp_path / "smaller.safetensors"
    layers = dict(list(adapter.layers.items())[1:])
    save_kohya(Adapter(layers), smaller, base.family, base.denoiser_config, {})
    assert main(["adapters", "diff", str(saved), str(saved), *BASE]) == 0
    assert "in the same way" in capsys.readouterr().out
    assert main(["adapters", "diff", str(saved), str(smaller), *BASE]) == 1
    assert "only in" in capsys.readouterr().out
    assert main(["adapters", "diff", str(saved), str(smaller), "--json", *BASE]) == 1
    assert len(json.loads(capsys.readouterr().out)["only_first"]) == 1


def test_bad_input_gives_a_one_line_error_and_no_file(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, reason in (
        (["convert", str(saved), "--out", str(saved), *BASE], "already exists"),
        (["convert", str(saved), "--out", str(tmp_path / "x.bin"), *BASE], "must end in .safetensors"),
        (["resize", str(saved), "--out", str(tmp_path / "x.safetensors"), *BASE], "the target size is missing"),
        (["inspect", str(tmp_path / "gone.safetensors"), *BASE], "no adapter found"),
        (["inspect", str(saved), "--base", str(tmp_path)], "is not a base model"),
        (["merge", f"{saved}:nan", "--out", str(tmp_path / "x.safetensors"), *BASE], "must be a finite number"),
        (
            ["merge", str(saved), "--into", str(MINIATURE), "--rank", "3", "--out", str(tmp_path / "x")],
            "--rank is for writing an adapter",
        ),
        (
            ["merge", str(saved), "--into", str(MINIATURE), *BASE, "--out", str(tmp_path / "x")],
            "--base is for writing an adapter",
        ),
    ):
        assert main(["adapters", *arguments]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()


def test_a_peft_folder_can_be_inspected_and_converted(
    adapter: Adapter, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "peft"
    folder.mkdir()
    unet = {path: layer for path, layer in adapter.layers.items() if path.startswith("unet.")}
    weights = Adapter(unet).to_peft()
    tensors = {f"base_model.model.{name.removeprefix('unet.')}": weight for name, weight in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    assert main(["adapters", "inspect", str(folder), *BASE]) == 0
    assert "PEFT" in capsys.readouterr().out
    assert main(["adapters", "convert", str(folder), "--out", str(tmp_path / "k.safetensors"), *BASE]) == 0
    assert difference(reader.load(tmp_path / "k.safetensors", base), Adapter(unet)).is_none


def test_a_half_precision_file_is_smaller_and_nearly_equal(saved: Path, base: ModuleShapes, tmp_path: Path) -> None:
    out = tmp_path / "half.safetensors"
    assert main(["adapters", "convert", str(saved), "--dtype", "fp16", "--out", str(out), *BASE]) == 0
    assert out.stat().st_size < 0.6 * saved.stat().st_size
    distance = difference(reader.load(out, base), reader.load(saved, base)).apart
    assert distance is not None
    assert 0 < distance < 1e-3


def test_a_model_of_another_family_in_the_models_folder_is_ignored(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "flux").mkdir(parents=True)
    (tmp_path / "models" / "flux" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (tmp_path / "models" / "mini-sdxl").symlink_to(MINIATURE)
    monkeypatch.chdir(tmp_path)
    assert main(["adapters", "inspect", str(saved), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] == "mini-sdxl"


@pytest.mark.slow
def test_merge_into_writes_a_base_and_replaces_only_a_base(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fused"
    merge = ["adapters", "merge", f"{saved}:0.1", "--into", str(MINIATURE), "--out"]
    assert main([*merge, str(out)]) == 0
    original, fused = (load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (MINIATURE, out))
    assert original.keys() == fused.keys()
    assert {weight.dtype for weight in fused.values()} == {torch.float16}
    assert any(not torch.equal(original[name], fused[name]) for name in original)
    assert main([*merge, str(out), "--force"]) == 0
    for target, reason in ((tmp_path, "not a base model"), (MINIATURE, "contains an input of this merge")):
        assert main([*merge, str(target), "--force"]) == 2, reason
        assert reason in capsys.readouterr().err


@pytest.fixture
def loha(base: ModuleShapes, tmp_path: Path) -> Path:
    """A file with a LoHa of a linear module and a difference of a bias."""
    generator = torch.Generator().manual_seed(0)
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.hada_w{number}_{letter}": torch.randn(shape, generator=generator)
        for number in "12"
        for letter, shape in (("a", (128, 2)), ("b", (2, 128)))
    }
    tensors["lora_unet_down_blocks_1_attentions_0_proj_in.diff_b"] = torch.ones(128)
    save_file({**tensors, f"{name}.alpha": torch.tensor(2.0)}, tmp_path / "loha.safetensors")
    return tmp_path / "loha.safetensors"


def test_another_kind_is_converted_unchanged_or_to_the_nearest_lora(
    base: ModuleShapes, loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (("copy", []), ("lora", ["--as", "lora", "--rank", "8"])):
        assert (
            main(
                [
                    "adapters",
                    "convert",
                    str(loha),
                    "--base",
                    str(MINIATURE),
                    *options,
                    "--out",
                    str(tmp_path / f"{name}.safetensors"),
                ]
            )
            == 0
        )

    source, copy, lora = (reader.load(tmp_path / f"{name}.safetensors", base) for name in ("loha", "copy", "lora"))
    path = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    change = source.changes[path].delta_weight(None)
    assert change is not None
    assert torch.equal(change, copy.changes[path].delta_weight(None))  # type: ignore[arg-type]
    assert torch.allclose(lora.layers[path].change(), change, atol=1e-3)
    assert (
        "a LoRA cannot hold 1 of its changes, for example the bias of unet.down_blocks.1.attentions.0.proj_in"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["convert", "--to", "diffusers"], "that layout can only hold LoRA"),
        (["merge"], "cannot be added to a LoRA"),
        (["diff"], "can only be compared as a LoRA"),
    ],
)
def test_what_another_kind_cannot_do_is_refused_with_advice(
    loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], reason: str
) -> None:
    name, *options = command
    files = [str(loha)] * (2 if name == "diff" else 1)
    out = [] if name == "diff" else ["--out", str(tmp_path / "out.safetensors")]

    assert main(["adapters", name, *files, "--base", str(MINIATURE), *options, *out]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "--as lora" in error


def test_dtype_applies_to_every_tensor_and_no_rank_is_invented(loha: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"

    assert main(["adapters", "convert", str(loha), "--dtype", "fp16", "--out", str(out), *BASE]) == 0

    assert {tensor.dtype for tensor in load_file(out).values()} == {torch.float16}
    assert "ss_network_dim" not in header.read(out).metadata


def test_converting_with_a_rank_but_without_as_is_refused(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", "convert", str(saved), "--rank", "2", "--out", str(tmp_path / "out.safetensors"), *BASE]) == 2
    assert "--rank is only for --as lora" in capsys.readouterr().err


def test_every_command_that_writes_prints_what_was_skipped(
    loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.alpha"
    save_file({**{key: value for key, value in load_file(loha).items() if "hada" not in key}, name: torch.tensor(1.0),
               "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k.lora_down.weight": torch.randn(2, 128),
               "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k.lora_up.weight": torch.randn(128, 2)},
              tmp_path / "alpha_only.safetensors")  # fmt: skip
    for command in (["convert"], ["resize", "--rank", "1"]):
        out = tmp_path / f"{command[0]}.safetensors"
        assert main(["adapters", *command, str(tmp_path / "alpha_only.safetensors"), "--out", str(out), *BASE]) == 0
        assert "has no weights: it was skipped" in capsys.readouterr().out
