"""Bases put together from files of single components: each is recognized, and what it becomes is what was in it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.errors import BadInput
from foundation.hashing import hash_files
from tests.zthumb.families import random_miniatures
from tests.zthumb.published import write_single_file
from zthumb import families
from zthumb.cli import main
from zthumb.sources import bases
from zthumb.sources.assembly import assemble
from zthumb.sources.resolve import Resolver

pytestmark = pytest.mark.slow

# llama.cpp's names of the parts of a block.
_DECODER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_T5 = {
    "layer.0.SelfAttention.q": "attn_q",
    "layer.0.SelfAttention.k": "attn_k",
    "layer.0.SelfAttention.v": "attn_v",
    "layer.0.SelfAttention.o": "attn_o",
    "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
    "layer.0.layer_norm": "attn_norm",
    "layer.1.DenseReluDense.wi_0": "ffn_gate",
    "layer.1.DenseReluDense.wi_1": "ffn_up",
    "layer.1.DenseReluDense.wo": "ffn_down",
    "layer.1.layer_norm": "ffn_norm",
}


def _t5_name(name: str) -> str | None:
    if name.startswith("encoder.block."):
        _, _, number, part = name.split(".", 3)
        module, _, kind = part.rpartition(".")
        return f"enc.blk.{number}.{_T5[module]}.{kind}"
    return {"shared.weight": "token_embd.weight", "encoder.final_layer_norm.weight": "enc.output_norm.weight"}[name]


def _decoder_name(name: str) -> str | None:
    bare = name.removeprefix("model.")
    if bare.startswith("layers."):
        _, number, part = bare.split(".", 2)
        module, _, kind = part.rpartition(".")
        return f"blk.{number}.{_DECODER[module]}.{kind}"
    # Its image tower is in a file of its own.
    return {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}.get(bare)


def _write_gguf(folder: Path, path: Path, architecture: str, rename: Callable[[str], str | None], blocks: int) -> None:
    """Write the text encoder in ``folder`` as llama.cpp does, its matrices in q8_0."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(blocks)
    for name, tensor in load_file(folder / "model.safetensors").items():
        if (stored := rename(name)) is None:
            continue
        values = tensor.float().numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(stored, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(stored, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def models(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``models`` with mini-sdxl, and with FLUX.1, Z-Image and Qwen-Image in small and with random weights."""
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    (models / "mini-sdxl").symlink_to(miniature)
    return models


def _assemble(base: Path, *files: Path) -> Path:
    out = base.with_name("assembled")
    assemble(str(base), files, out, Resolver())
    return out


def _weights(folder: Path) -> Mapping[str, Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def test_files_in_any_order_are_the_components_that_their_tensors_say(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given the autoencoder, both text encoders and the transformer of FLUX.1 under the names that their files have
    random_miniatures.write_flux(models / "mini-sdxl", models / "base")
    files = []
    for component in ("vae", "text_encoder_2", "transformer", "text_encoder"):
        file = models / f"{component}.safetensors"
        shutil.copyfile(next((models / "base" / component).glob("*.safetensors")), file)
        files.append(str(file))

    assert main(["convert", "base", "models/base", *files, "--out", "models/mine"]) == 0

    assert "text_encoder_2: " in capsys.readouterr().out
    assert hash_files(models / "mine", "*.safetensors") == hash_files(models / "base", "*.safetensors")
    for name in ("tokenizer", "tokenizer_2", "scheduler"):
        assert (models / "mine" / name).is_dir()


@pytest.mark.parametrize(
    ("write", "component", "architecture", "rename", "blocks"),
    [
        (random_miniatures.write_flux, "text_encoder_2", "t5encoder", _t5_name, 3),
        (random_miniatures.write_z_image, "text_encoder", "qwen3", _decoder_name, 4),
        (random_miniatures.write_qwen_image, "text_encoder", "qwen2vl", _decoder_name, 3),
    ],
    ids=["T5", "Qwen3", "Qwen2.5-VL"],
)
def test_a_text_encoder_in_gguf_is_the_one_that_was_quantized(
    models: Path,
    write: Callable[[Path, Path], None],
    component: str,
    architecture: str,
    rename: Callable[[str], str | None],
    blocks: int,
) -> None:
    write(models / "mini-sdxl", models / "base")
    _write_gguf(models / "base" / component, models / "encoder.gguf", architecture, rename, blocks)

    assembled = _assemble(models / "base", models / "encoder.gguf")

    original, read = _weights(models / "base" / component), _weights(assembled / component)
    assert set(read) == set(original)
    for name, weight in original.items():
        if rename(name) is not None:
            error = (read[name].float() - weight.float()).norm() / weight.float().norm().clamp(min=1e-6)
            assert float(error) < 0.02, name
    other = "transformer"
    assert hash_files(assembled / other, "*.safetensors") == hash_files(models / "base" / other, "*.safetensors")


def test_what_is_no_component_or_one_twice_is_refused_and_nothing_is_written(models: Path) -> None:
    random_miniatures.write_z_image(models / "mini-sdxl", models / "base")
    save_file({"a.weight": torch.ones(2, 2)}, models / "other.safetensors")
    vae = models / "vae.safetensors"
    shutil.copyfile(models / "base" / "vae" / "diffusion_pytorch_model.safetensors", vae)

    with pytest.raises(BadInput, match=r"other.safetensors: is no component of base that is missing: as transformer, it lacks"):
        _assemble(models / "base", models / "other.safetensors")
    with pytest.raises(BadInput, match=r"vae.safetensors: is no component of base that is missing"):
        _assemble(models / "base", vae, vae)
    assert not (models / "assembled").exists()


def test_a_gguf_file_that_is_no_text_encoder_is_refused(models: Path) -> None:
    random_miniatures.write_z_image(models / "mini-sdxl", models / "base")
    writer = gguf.GGUFWriter(models / "x.gguf", "llama")
    writer.add_tensor("token_embd.weight", torch.ones(2, 32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(BadInput, match=r"x.gguf: its architecture is llama, and text encoders of t5, .* are read"):
        _assemble(models / "base", models / "x.gguf")


def test_a_whole_checkpoint_and_what_is_no_file_are_refused(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_single_file(models / "mini-sdxl", models / "whole.safetensors")
    (models / "ae.sft").write_bytes(b"x")

    for file, message in (
        ("whole.safetensors", "A whole checkpoint is a base of its own"),
        ("gone.safetensors", "no such file"),
        ("ae.sft", "a component is a .safetensors file"),
    ):
        assert main(["convert", "base", "models/mini-sdxl", f"models/{file}", "--out", "models/mine"]) == 2
        assert message in capsys.readouterr().err
    assert not (models / "mine").exists()


def test_the_tokenizer_of_another_family_is_never_taken(models: Path) -> None:
    # Given bases of two families whose text encoders have a language model inside, and no tokenizer of the one that is named
    random_miniatures.write_qwen_image(models / "mini-sdxl", models / "qwen")
    random_miniatures.write_flux2_dev(models / "mini-sdxl", models / "flux")
    shutil.rmtree(models / "flux" / "tokenizer")

    assert not bases._has_same_tokenizers(models / "qwen", models / "flux", families.get("flux2_dev"), ["tokenizer"])
    assert bases._has_same_tokenizers(models / "qwen", models / "qwen", families.get("qwen_image"), ["tokenizer"])
