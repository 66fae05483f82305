"""Stable Diffusion 1.x and 2.x: conditioning, published configurations, and what a single file says of itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from foundation.errors import BadInput
from foundation.files import read_json, write_json
from tests.conftest import ROOT
from tests.zthumb.published import write_single_file
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.fitting_base import recognize
from zthumb.adapters.layouts import save_kohya
from zthumb.diffusion.schedulers import make
from zthumb.families.base import ImageSize
from zthumb.memory import usage
from zthumb.sources import kinds
from zthumb.sources.bases import find_base
from zthumb.sources.local import hash_base

SD15 = families.get("sd15")
MINI = ROOT / "models" / "mini-sd15"
VELOCITY_BIAS = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
PARAMETERS = {
    "stable-diffusion-v1-5": 859_520_964,
    "small-sd": 579_384_964,
    "bk-sdm-small": 482_346_884,
    "stable-diffusion-2-1-base": 865_910_724,
    "stable-diffusion-2-1": 865_910_724,
}
"""Of the published denoisers."""


@pytest.mark.parametrize("reference", SD15.references, ids=lambda path: path.name)
def test_a_reference_has_the_published_number_of_parameters_and_a_name_for_each_tensor(reference: Path) -> None:
    with torch.device("meta"):
        denoiser = SD15.build_component("unet", SD15.configuration(reference, "unet"))

    assert sum(parameter.numel() for parameter in denoiser.parameters()) == PARAMETERS[reference.name]
    names = [key.name for key in SD15.checkpoint_keys("unet", denoiser).values()]
    assert len(set(names)) == len(names) == len(denoiser.state_dict())


@pytest.mark.parametrize(
    ("reference", "prediction", "version", "architecture"),
    [
        (0, "epsilon", "sd_v1", "stable-diffusion-v1/lora"),
        (3, "epsilon", "sd_v2", "stable-diffusion-v2-512/lora"),
        (4, "v_prediction", "sd_v2_v", "stable-diffusion-v2-768-v/lora"),
    ],
)
def test_a_header_says_which_stable_diffusion_the_adapter_is_for(
    reference: int, prediction: str, version: str, architecture: str
) -> None:
    metadata = SD15.metadata(SD15.configuration(SD15.references[reference], "unet"), prediction)

    assert (metadata.version, metadata.is_v2, metadata.architecture) == (version, reference > 2, architecture)


@pytest.mark.slow
def test_prompts_are_encoded_as_diffusers_encodes_them_and_no_prompt_is_the_empty_one() -> None:
    pipeline = SD15.load(MINI, torch.float32, torch.device("cpu"))
    prompts = ["a photo of a red star on a blue background", "", "zbadge " * 90]

    encoded = SD15.encode_prompts(pipeline, prompts)

    expected, _ = pipeline.encode_prompt(prompts, torch.device("cpu"), 1, do_classifier_free_guidance=False)
    assert torch.equal(encoded.stack("prompt_embeds"), expected)
    assert torch.equal(SD15.unconditional(pipeline, encoded).stack("prompt_embeds")[0], expected[1])
    longer = encoded.merge(prompt_embeds=expected.repeat(1, 2, 1))
    assert SD15.unconditional(pipeline, longer).stack("prompt_embeds").shape == (1, 154, expected.shape[-1])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder that contains only the miniature."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sd15").symlink_to(MINI)
    return tmp_path / "models"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("meant", "stored"),
    [
        ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
        ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer."),
    ],
)
def test_a_single_file_with_other_names_of_its_text_encoder_is_the_same_base(models: Path, meant: str, stored: str) -> None:
    file = write_single_file(models / "mini-sd15", models / "x.safetensors")
    save_file({name.replace(meant, stored): tensor for name, tensor in load_file(file).items()}, file)

    assert hash_base(find_base(str(file))) == hash_base(MINI)


@pytest.fixture
def small_2_1(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a base of 2.1's shape in small, the family's only references being its configuration and its 512-pixel sister's."""
    torch.manual_seed(0)
    for reference, name in ((SD15.references[3], "small-base"), (SD15.references[4], "small-768")):
        shutil.copytree(reference, models / name)
        shutil.copytree(MINI / "tokenizer", models / name / "tokenizer")
        _shrink(models / name)
    monkeypatch.setattr(type(SD15), "references", (models / "small-base", models / "small-768"))
    for part in SD15.single_file:
        model: Any = SD15.build_component(part, SD15.configuration(models / "small-768", part))
        save_file(model.state_dict(), models / "small-768" / part / "model.safetensors")
    return models / "small-768"


def _shrink(base: Path) -> None:
    small = {
        "unet": {"block_out_channels": [32] * 4, "attention_head_dim": 1},
        "vae": {"block_out_channels": [32] * 4},
        "text_encoder": {"intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 1214},
    }
    for part, values in small.items():
        path = base / part / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "metadata", "prediction", "resolution"),
    [
        (0.2, {}, "v_prediction", 768),
        (0.02, {}, "epsilon", 512),
        (0.02, {"modelspec.prediction_type": "v"}, "v_prediction", 768),
        (0.2, {"modelspec.prediction_type": "epsilon"}, "epsilon", 512),
    ],
)
def test_a_single_file_of_2_1_gets_the_prediction_type_and_resolution_that_it_was_trained_with(
    models: Path, small_2_1: Path, spread: float, metadata: dict[str, str], prediction: str, resolution: int
) -> None:
    # Given a file that differs in one bias, or says in its header what it predicts
    file = write_single_file(small_2_1, models / "x.safetensors")
    tensors = load_file(file)
    tensors[VELOCITY_BIAS] = torch.linspace(-1, 1, 32) * spread
    save_file(tensors, file, metadata)

    converted = find_base(str(file))

    assert read_json(converted / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon") == prediction
    assert SD15.resolution(converted) == resolution


@pytest.fixture
def hub_folder(models: Path) -> Path:
    """Return a base as the hub has the first ones: an old configuration, a scheduler that says little, and a safety checker."""
    folder = models / "old"
    shutil.copytree(MINI, folder)
    index = read_json(folder / "model_index.json")
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    index["scheduler"] = ["diffusers", "PNDMScheduler"]
    write_json(folder / "model_index.json", index)
    shutil.copy(SD15.references[0] / "scheduler" / "scheduler_config.json", folder / "scheduler")
    configuration = read_json(folder / "unet" / "config.json")
    write_json(folder / "unet" / "config.json", {**configuration, "_diffusers_version": "0.6.0", "sample_size": 32})
    (folder / "safety_checker").mkdir()
    save_file({"x": torch.zeros(10**6)}, folder / "safety_checker" / "model.safetensors")
    save_file(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"), folder / "unet" / "x.non_ema.safetensors")
    return folder


@pytest.mark.slow
def test_a_folder_of_the_first_versions_is_what_diffusers_takes_it_for(hub_folder: Path) -> None:
    pipeline = SD15.load(hub_folder, torch.float32, torch.device("cpu"))

    assert SD15.prediction(hub_folder) == "epsilon"
    assert SD15.resolution(hub_folder) == pipeline.unet.config.sample_size * 8 == 512
    # What is not used is neither counted nor part of the base's hash.
    assert usage.weights(hub_folder, 2) == usage.weights(MINI, 2)
    shutil.rmtree(hub_folder / "safety_checker")
    assert kinds.MODEL.is_complete(hub_folder)


@pytest.mark.slow
def test_a_single_file_with_zero_terminal_snr_gets_a_scheduler_that_begins_at_pure_noise(models: Path) -> None:
    empty = torch.zeros(0)
    file = write_single_file(models / "mini-sd15", models / "x.safetensors", v_pred=empty, ztsnr=empty)

    pipeline = SD15.load(find_base(str(file)), torch.float32, torch.device("cpu"))

    assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
    process = SD15.process(pipeline)
    assert float(process.add_noise(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.tensor([999])).abs().max()) < 1e-3
    # A scheduler that a request names begins there too.
    assert float(make("euler", pipeline.scheduler).alphas_cumprod[-1]) < 1e-6


@pytest.mark.slow
def test_a_scheduler_that_cannot_do_what_its_configuration_says_is_refused(hub_folder: Path) -> None:
    path = hub_folder / "scheduler" / "scheduler_config.json"
    write_json(path, {**read_json(path), "rescale_betas_zero_snr": True})

    with pytest.raises(BadInput, match="its PNDMScheduler cannot do"):
        SD15.process(SD15.load(hub_folder, torch.float32, torch.device("cpu")))


def test_an_autoencoder_that_scales_in_another_way_is_refused(models: Path) -> None:
    shutil.copytree(MINI / "vae", models / "other")
    configuration = read_json(models / "other" / "config.json")
    write_json(models / "other" / "config.json", {**configuration, "scaling_factor": configuration["scaling_factor"] / 2})

    with pytest.raises(BadInput, match="an autoencoder of another model"):
        find_base("models/mini-sd15", "models/other")


@pytest.mark.parametrize(("version", "expected"), [("sd_v2", "stable-diffusion-2-1-base"), ("sd_v2_v", "stable-diffusion-2-1")])
def test_an_adapter_of_2_1_is_recognized_by_its_header(tmp_path: Path, version: str, expected: str) -> None:
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    adapter = Adapter({module: Layer(torch.ones(2, 1024), torch.ones(1280, 2))})
    save_kohya(
        adapter,
        tmp_path / "x.safetensors",
        SD15,
        SD15.configuration(SD15.references[4], "unet"),
        {"ss_base_model_version": version},
    )

    assert recognize(tmp_path / "x.safetensors").base.name == expected


def test_an_embedding_of_one_text_encoder_is_read_whatever_its_tensor_is_called(tmp_path: Path) -> None:
    base = module_shapes.of_folder("mini-sd15", MINI, SD15)
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    out, rank_in = base.shapes[module][:2]
    save_kohya(
        Adapter({module: Layer(torch.ones(2, rank_in), torch.ones(out, 2))}),
        tmp_path / "x.safetensors",
        SD15,
        base.denoiser_config,
        {},
    )
    for tensors in ({"emb_params": torch.ones(2, 128)}, {"<word>": torch.ones(2, 128)}, {"clip_l": torch.ones(128)}):
        save_file(tensors, tmp_path / "x_emb.safetensors", {"modelspec.trigger_phrase": "zbadge"})

        (embedding,) = reader.load(tmp_path / "x.safetensors", base).embeddings

        assert embedding.text == "zbadge"
        assert embedding.vectors["text_encoder"].shape[1] == 128


def test_an_adapter_trained_with_clip_skip_says_that_it_is_not_done_here(tmp_path: Path) -> None:
    base = module_shapes.of_folder("mini-sd15", MINI, SD15)
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    out, width = base.shapes[module]
    adapter = Adapter({module: Layer(torch.ones(2, width), torch.ones(out, 2))})
    for skip, count in (("2", 1), ("1", 0), ("None", 0)):
        save_kohya(adapter, tmp_path / "x.safetensors", SD15, base.denoiser_config, {"ss_clip_skip": skip})

        notes = reader.load(tmp_path / "x.safetensors", base).notes

        assert [note for note in notes if f"clip skip {skip}" in note][:1] == list(notes)
        assert len(notes) == count


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheduler",
    [
        {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
        {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
        {
            "_class_name": "DDIMScheduler",
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
        },
    ],
    ids=["1.5", "2.1", "zero terminal SNR"],
)
def test_latents_are_those_of_diffusers_with_the_scheduler_of_each_published_base(scheduler: dict[str, Any]) -> None:
    pipeline = SD15.load(MINI, torch.float32, torch.device("cpu"))
    kind = getattr(diffusers, scheduler["_class_name"])
    pipeline.scheduler = kind.from_config({**pipeline.scheduler.config, **scheduler})
    size, prompts = ImageSize.whole(128, 128), ["a photo of a red star"]
    expected = pipeline(
        prompts,
        height=128,
        width=128,
        num_inference_steps=5,
        guidance_scale=7.5,
        generator=[torch.Generator().manual_seed(0)],
        output_type="latent",
    ).images

    latents = SD15.sample(pipeline, prompts, size, 5, 7.5, [torch.Generator().manual_seed(0)])

    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-4)
