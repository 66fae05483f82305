"""``zthumb adapters`` as a person types it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import MINIATURE
from tests.zthumb.adapters.conftest import layer
from zthumb.adapters import header, reader, textual_inversion
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.difference import difference
from zthumb.adapters.layouts import save_kohya
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.textual_inversion import LearnedEmbedding
from zthumb.cli import main

BASE = ["--base", str(MINIATURE)]


def test_inspect_says_what_it_is_and_which_base_it_fits(
    saved: Path, adapter: Adapter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given no base, the models folder and the best known bases are tried.
    monkeypatch.chdir(MINIATURE.parent.parent)
    assert main(["adapters", "inspect", str(saved), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fits"], told["layout"], told["kind"]) == ("mini-sdxl", "kohya", "LoRA")
    assert sum(told["modules"].values()) == len(adapter.layers)
    assert set(told["modules"]) == {"unet", "text_encoder", "text_encoder_2"}
    assert told["told"] == {"ss_output_name": "a"}
    assert main(["adapters", "inspect", str(saved)]) == 0
    assert "LoRA in the kohya layout" in capsys.readouterr().out


def test_an_adapter_of_full_size_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zthumb import families
    from zthumb.adapters import module_shapes

    sdxl = families.get("sdxl")
    full = module_shapes.of_folder("sdxl", sdxl.reference, sdxl)
    # The counts of SDXL base 1.0: 794 linear and convolution modules in the UNet, 12 and 32 text layers of 6, one projection.
    assert {part: sum(name.startswith(f"{part}.") for name in full.shapes) for part in sdxl.adapted_components} == {
        "unet": 794,
        "text_encoder": 72,
        "text_encoder_2": 193,
    }
    name = "unet.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k"
    save_kohya(Adapter({name: layer(full, name)}), tmp_path / "x.safetensors", full.layers_per_block, {})
    assert "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_k.alpha" in header.read(tmp_path / "x.safetensors").shapes
    assert main(["adapters", "inspect", str(tmp_path / "x.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] == "stable-diffusion-xl-base-1.0"


def test_convert_there_and_back_changes_nothing(saved: Path, base: ModuleShapes, tmp_path: Path) -> None:
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    assert main(["adapters", "convert", str(saved), "--to", "diffusers", "--out", str(there), *BASE]) == 0
    assert main(["adapters", "convert", str(there), "--to", "kohya", "--out", str(back), *BASE]) == 0
    for file in (there, back):
        assert difference(reader.load(file, base), reader.load(saved, base)).is_none
    assert header.read(there).metadata["ss_output_name"] == "a"
    assert header.read(back).shapes == header.read(saved).shapes


def test_merge_takes_weights_and_a_rank(saved: Path, adapter: Adapter, base: ModuleShapes, tmp_path: Path) -> None:
    out = tmp_path / "merged.safetensors"
    assert main(["adapters", "merge", f"{saved}:0.5", f"{saved}:0.25", "--out", str(out), *BASE]) == 0
    expected = Adapter({path: Layer(each.down, each.up, each.scale * 0.75) for path, each in adapter.layers.items()})
    assert difference(reader.load(out, base), expected).is_none
    assert main(["adapters", "merge", f"{saved}:0.5", str(saved), "--rank", "2", "--out", str(out), "--force", *BASE]) == 0
    assert max(each.rank for each in reader.load(out, base).layers.values()) == 2


def test_resize_says_what_is_kept(saved: Path, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.safetensors"
    assert main(["adapters", "resize", str(saved), "--rank", "1", "--out", str(out), *BASE]) == 0
    assert "kept of each module's change: at least" in capsys.readouterr().out
    assert {each.rank for each in reader.load(out, base).layers.values()} == {1}
    assert out.stat().st_size < saved.stat().st_size
    assert header.read(out).metadata["ss_network_dim"] == "1"


def test_a_word_goes_with_its_adapter(
    saved: Path, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {part: torch.full((2, 128), value) for part, value in (("text_encoder", 0.5), ("text_encoder_2", 0.25))}
    textual_inversion.save(LearnedEmbedding("zbadge", rows), saved.with_name("a_emb.safetensors"))
    small, merged, plain = (tmp_path / f"{name}.safetensors" for name in ("small", "merged", "plain"))
    assert main(["adapters", "resize", str(saved), "--rank", "1", "--out", str(small), *BASE]) == 0
    assert main(["adapters", "merge", str(small), str(saved), "--out", str(merged), *BASE]) == 2
    assert "leave out all adapters but one that bring a word" in capsys.readouterr().err
    assert not merged.exists()
    textual_inversion.beside(small).unlink()  # type: ignore[union-attr]
    assert main(["adapters", "merge", str(small), str(saved), "--out", str(merged), *BASE]) == 0
    (read,) = reader.load(merged, base).words
    assert torch.equal(read.vectors["text_encoder_2"], rows["text_encoder_2"])

    assert main(["adapters", "inspect", str(merged), *BASE]) == 0
    assert "zbadge (2 tokens)" in capsys.readouterr().out
    plain.write_bytes(merged.read_bytes())
    assert main(["adapters", "diff", str(merged), str(plain), *BASE]) == 1
    assert "the words they bring are not the same" in capsys.readouterr().out
    # What takes an adapter's place takes its word's as well, and only if it may.
    assert main(["adapters", "convert", str(plain), "--out", str(merged), "--force", *BASE]) == 0
    assert textual_inversion.beside(merged) is None


def test_diff_tells_by_its_exit_code_whether_they_differ(
    saved: Path, adapter: Adapter, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    fewer = dict(list(adapter.layers.items())[1:])
    save_kohya(Adapter(fewer), other, base.layers_per_block, {})
    assert main(["adapters", "diff", str(saved), str(saved), *BASE]) == 0
    assert "alike" in capsys.readouterr().out
    assert main(["adapters", "diff", str(saved), str(other), *BASE]) == 1
    assert "only in" in capsys.readouterr().out
    assert main(["adapters", "diff", str(saved), str(other), "--json", *BASE]) == 1
    assert len(json.loads(capsys.readouterr().out)["only_first"]) == 1


def test_bad_input_is_one_clear_line_and_leaves_nothing(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, reason in (
        (["convert", str(saved), "--out", str(saved), *BASE], "is there already"),
        (["convert", str(saved), "--out", str(tmp_path / "x.bin"), *BASE], "ends in .safetensors"),
        (["resize", str(saved), "--out", str(tmp_path / "x.safetensors"), *BASE], "say how small"),
        (["inspect", str(tmp_path / "gone.safetensors"), *BASE], "no adapter is there"),
        (["inspect", str(saved), "--base", str(tmp_path)], "no base model is there"),
        (["merge", f"{saved}:nan", "--out", str(tmp_path / "x.safetensors"), *BASE], "a weight is a number"),
        (
            ["merge", str(saved), "--into", str(MINIATURE), "--rank", "3", "--out", str(tmp_path / "x")],
            "--rank is for an adapter",
        ),
        (["merge", str(saved), "--into", str(MINIATURE), *BASE, "--out", str(tmp_path / "x")], "--base is for an adapter"),
    ):
        assert main(["adapters", *arguments]) == 2
        told = capsys.readouterr().err
        assert reason in told
        assert told.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()


def test_a_folder_of_peft_is_inspected_and_converted(
    adapter: Adapter, base: ModuleShapes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "peft"
    folder.mkdir()
    unet = {path: each for path, each in adapter.layers.items() if path.startswith("unet.")}
    weights = Adapter(unet).peft()
    tensors = {f"base_model.model.{name.removeprefix('unet.')}": weight for name, weight in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    assert main(["adapters", "inspect", str(folder), *BASE]) == 0
    assert "PEFT" in capsys.readouterr().out
    assert main(["adapters", "convert", str(folder), "--out", str(tmp_path / "k.safetensors"), *BASE]) == 0
    assert difference(reader.load(tmp_path / "k.safetensors", base), Adapter(unet)).is_none


def test_another_precision_is_smaller_and_nearly_the_same(saved: Path, base: ModuleShapes, tmp_path: Path) -> None:
    out = tmp_path / "half.safetensors"
    assert main(["adapters", "convert", str(saved), "--dtype", "fp16", "--out", str(out), *BASE]) == 0
    assert out.stat().st_size < 0.6 * saved.stat().st_size
    apart = difference(reader.load(out, base), reader.load(saved, base)).apart
    assert apart is not None
    assert 0 < apart < 1e-3


def test_a_model_of_another_family_beside_the_bases_is_no_hindrance(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "flux").mkdir(parents=True)
    (tmp_path / "models" / "flux" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (tmp_path / "models" / "mini-sdxl").symlink_to(MINIATURE)
    monkeypatch.chdir(tmp_path)
    assert main(["adapters", "inspect", str(saved), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] == "mini-sdxl"


@pytest.mark.slow
def test_merge_into_a_base_makes_a_base_and_replaces_nothing_else(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fused"
    merge = ["adapters", "merge", f"{saved}:0.1", "--into", str(MINIATURE), "--out"]
    assert main([*merge, str(out)]) == 0
    changed = [load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (MINIATURE, out)]
    assert changed[0].keys() == changed[1].keys()
    assert {weight.dtype for weight in changed[1].values()} == {torch.float16}
    assert any(not torch.equal(changed[0][name], changed[1][name]) for name in changed[0])
    assert main([*merge, str(out), "--force"]) == 0
    for target, reason in ((tmp_path, "is no base model"), (MINIATURE, "holds what goes into it")):
        assert main([*merge, str(target), "--force"]) == 2, reason
        assert reason in capsys.readouterr().err


@pytest.fixture
def loha(base: ModuleShapes, tmp_path: Path) -> Path:
    """A LoHa of a linear module and a difference of a bias."""
    generator = torch.Generator().manual_seed(0)
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.hada_w{number}_{side}": torch.randn(shape, generator=generator)
        for number in "12"
        for side, shape in (("a", (128, 2)), ("b", (2, 128)))
    }
    tensors["lora_unet_down_blocks_1_attentions_0_proj_in.diff_b"] = torch.ones(128)
    save_file({**tensors, f"{name}.alpha": torch.tensor(2.0)}, tmp_path / "loha.safetensors")
    return tmp_path / "loha.safetensors"


def test_another_kind_is_written_again_as_it_came_and_as_the_nearest_lora(
    base: ModuleShapes, loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (("again", []), ("lora", ["--as", "lora", "--rank", "8"])):
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

    came, again, lora = (reader.load(tmp_path / f"{name}.safetensors", base) for name in ("loha", "again", "lora"))
    path = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    change = came.changes[path].weight(None)
    assert change is not None
    assert torch.equal(change, again.changes[path].weight(None))  # type: ignore[arg-type]
    assert torch.allclose(lora.layers[path].change(), change, atol=1e-3)
    assert (
        "a LoRA cannot hold 1 of its changes, as the bias of unet.down_blocks.1.attentions.0.proj_in" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["convert", "--to", "diffusers"], "that layout holds LoRA alone"),
        (["merge"], "adds up with no LoRA"),
        (["diff"], "is compared as a LoRA"),
    ],
)
def test_what_another_kind_cannot_do_is_told_with_the_way_out(
    loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], told: str
) -> None:
    name, *options = command
    files = [str(loha)] * (2 if name == "diff" else 1)
    out = [] if name == "diff" else ["--out", str(tmp_path / "out.safetensors")]

    assert main(["adapters", name, *files, "--base", str(MINIATURE), *options, *out]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert "--as lora" in printed


def test_a_precision_is_that_of_every_tensor_and_no_rank_is_made_up(loha: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"

    assert main(["adapters", "convert", str(loha), "--dtype", "fp16", "--out", str(out), *BASE]) == 0

    assert {tensor.dtype for tensor in load_file(out).values()} == {torch.float16}
    assert "ss_network_dim" not in header.read(out).metadata


def test_a_rank_that_would_not_be_followed_is_refused(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "convert", str(saved), "--rank", "2", "--out", str(tmp_path / "out.safetensors"), *BASE]) == 2
    assert "--rank is of --as lora" in capsys.readouterr().err


def test_what_was_left_out_of_a_file_is_told_by_every_command_that_writes(
    loha: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.alpha"
    save_file({**{each: value for each, value in load_file(loha).items() if "hada" not in each}, name: torch.tensor(1.0),
               "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k.lora_down.weight": torch.randn(2, 128),
               "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_k.lora_up.weight": torch.randn(128, 2)},
              tmp_path / "alone.safetensors")  # fmt: skip
    for command in (["convert"], ["resize", "--rank", "1"]):
        out = tmp_path / f"{command[0]}.safetensors"
        assert main(["adapters", *command, str(tmp_path / "alone.safetensors"), "--out", str(out), *BASE]) == 0
        assert "stands alone, without weights" in capsys.readouterr().out
