"""What every model family must satisfy, shown on its miniature."""

from pathlib import Path
from typing import Any

import pytest
import torch

from miniature.autoencoder import to_tensor
from miniature.drawing import draw
from miniature.grade import draw_scenes
from tests.zthumb.families.conftest import RANDOM, TRAINED, UNTRAINED_AUTOENCODERS, call_diffusers
from zthumb import families
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.schedulers import make
from zthumb.families.base import ImageSize, ModelFamily
from zthumb.families.shared.clip_text import TOKEN_IDS, ClipTextFamily
from zthumb.families.shared.flux2_transformer import unnormalized
from zthumb.families.shared.packed_latents import unpack
from zthumb.generation.parameters import GenerationParams
from zthumb.memory.estimate import ImageShape, estimate

pytestmark = pytest.mark.slow

PROMPTS = ["a photo of a red star on a blue background", "a drawing of a green ring at the left on a white background"]
SIZE, STEPS, GUIDANCE = ImageSize.whole(128, 128), 4, 5.0


def test_every_family_has_a_miniature() -> None:
    assert set(families.names()) == {*TRAINED, *RANDOM}


def completed(family: ModelFamily, pipeline: Any, prompts: list[str]) -> Conditioning:
    """Return the conditioning of images of ``prompts``, at a guidance scale of 1 where the denoiser is told one."""
    sized = family.with_sizes(family.encode_prompts(pipeline, prompts), [SIZE] * len(prompts))
    return family.with_guidance(family.denoiser(pipeline), sized, family.guidance(1.0))


def _generators(count: int = 2) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def test_latents_are_those_of_diffusers_own_pipeline(family: ModelFamily, pipeline: Any) -> None:
    # Given diffusers' pipeline, with the base's own scheduler.
    steps, generators = {"num_inference_steps": STEPS}, _generators()
    expected = call_diffusers(family, pipeline, PROMPTS, GUIDANCE, generator=generators, output_type="latent", **steps)
    if family.name == "flux2_dev":
        expected = expected.transpose(1, 2).unflatten(2, family.latent_shape(pipeline, 128, 128)[1:])
    elif expected.dim() == 3:
        expected = unpack(expected, *family.latent_shape(pipeline, 128, 128)[1:])

    latents = family.sample(pipeline, PROMPTS, SIZE, STEPS, GUIDANCE, _generators())

    if family.name == "flux2":
        # Its pipeline returns them as its autoencoder takes them.
        latents = unnormalized(pipeline.vae, latents)
    # UNets convolve batches of another size in another order.
    torch.testing.assert_close(latents, expected, rtol=0, atol=0 if family.is_flow else 1e-5)


def test_an_image_is_that_of_diffusers_own_pipeline(family: ModelFamily, pipeline: Any) -> None:
    steps, generators = {"num_inference_steps": STEPS}, _generators(1)
    expected = call_diffusers(family, pipeline, PROMPTS[:1], 1.0, generator=generators, output_type="pt", **steps)

    latents = family.sample(pipeline, PROMPTS[:1], SIZE, STEPS, 1.0, _generators(1))

    torch.testing.assert_close(family.decode_latents(pipeline, latents) / 2 + 0.5, expected, rtol=0, atol=1e-4)


def test_an_image_is_the_same_with_one_block_at_a_time(family: ModelFamily, folder: Path) -> None:
    params = GenerationParams(PROMPTS[0], None, 128, 128, 7, 2, family.limits.default_guidance_scale)
    blocks = estimate(family, folder, ImageShape(128, 128), torch.float32).blocks_to_swap(0)

    def generate(options: Options) -> bytes:
        backend = Backend(WeightsLocation(folder, folder), options)
        with backend.apply_lora([]) as applied:
            return backend.generate([params], lambda *_: None, applied.learned_tokens)[0].tobytes()

    swapped = generate(Options(device="cpu", placement="offload", blocks_to_swap=blocks))

    assert swapped == generate(Options(device="cpu"))
    assert blocks[family.denoiser_component] > 0


def test_latents_of_an_image_come_back_as_nearly_that_image(family: ModelFamily, pipeline: Any) -> None:
    if family.name in UNTRAINED_AUTOENCODERS:
        pytest.skip("the autoencoder of its miniature has random weights")
    # Given an image of the world that the miniatures know
    image = to_tensor(draw(draw_scenes(seed=0, count=1)[0]))[None]

    latents = family.encode_images(pipeline, image)

    assert latents.shape[1:] == family.latent_shape(pipeline, 128, 128)
    assert float((family.decode_latents(pipeline, latents) - image).abs().mean()) < 0.05
    # What denoisers are given has a mean of about 0 and a deviation of about 1.
    assert abs(float(latents.mean())) < 0.5
    assert 0.5 < float(latents.std()) < 2


def test_the_training_loss_is_that_of_a_few_independent_lines(family: ModelFamily, pipeline: Any) -> None:
    # Given latents, noise and one time for each of two images.
    process, generator = family.process(pipeline), torch.Generator().manual_seed(0)
    shape = (2, *family.latent_shape(pipeline, 128, 128))
    latents, noise = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    times = torch.tensor([200, 700])
    if family.is_flow:
        # Rectified flow: straight from latents to noise.
        sigmas = (times / 1000)[:, None, None, None]
        noisy, target = latents + sigmas * (noise - latents), noise - latents
    else:
        # diffusers' scheduler adds the noise and names the target.
        scheduler = make("ddim", pipeline.scheduler)
        is_velocity = scheduler.config.prediction_type == "v_prediction"
        noisy = scheduler.add_noise(latents, noise, times)
        target = scheduler.get_velocity(latents, noise, times) if is_velocity else noise

    torch.testing.assert_close(process.add_noise(latents, noise, times), noisy, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(process.target(latents, noise, times), target, rtol=1e-4, atol=1e-5)


def test_dropped_captions_are_what_guidance_leads_away_from(family: ModelFamily, pipeline: Any) -> None:
    encoded = family.encode_prompts(pipeline, PROMPTS)

    without = family.unconditional(pipeline, encoded)

    assert len(without) == 1
    dropped = encoded.override([True, False], without)
    for name in without.tensors:
        assert torch.equal(dropped.tensors[name][0], without.tensors[name][0])
        assert torch.equal(dropped.tensors[name][1], encoded.tensors[name][1])


def test_dummy_inputs_have_the_shapes_of_real_ones(family: ModelFamily, folder: Path, pipeline: Any) -> None:
    configuration = family.configuration(folder, family.denoiser_component)

    noisy, conditioning = family.dummy_inputs(configuration, 2, 128, 128)

    real = completed(family, pipeline, PROMPTS)
    assert noisy.shape == (2, *family.latent_shape(pipeline, 128, 128))
    for name, tensors in conditioning.tensors.items():
        if name == "prompt_embeds":
            # These miniatures read shorter prompts than the bases that their configurations are like.
            assert tensors[0].shape[1:] == real.tensors[name][0].shape[1:]
            assert len(tensors[0]) >= len(real.tensors[name][0])
        elif name != TOKEN_IDS:
            assert tensors[0].shape == real.tensors[name][0].shape
    assert set(conditioning.tensors) - {TOKEN_IDS} == set(real.tensors)


def test_token_ids_are_encoded_to_the_same_and_carry_gradients(family: ModelFamily, pipeline: Any) -> None:
    if not isinstance(family, ClipTextFamily):
        pytest.skip("this family's text encoders are never trained")
    components = {name: getattr(pipeline, name) for name in family.text_components}
    encoded = family.encode_prompts(pipeline, PROMPTS)
    embedding = pipeline.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    try:
        again = family.reencode(components, encoded.merge(token_ids=family.token_ids(pipeline, PROMPTS)))

        for name in encoded.tensors:
            torch.testing.assert_close(again.stack(name), encoded.stack(name), rtol=0, atol=1e-5)
        again.stack("prompt_embeds").sum().backward()  # type: ignore[no-untyped-call]
        assert float(embedding.grad.abs().sum()) > 0
    finally:
        embedding.requires_grad_(False).grad = None


def test_without_a_prompt_token_ids_give_the_unconditional(family: ModelFamily, pipeline: Any) -> None:
    if not isinstance(family, ClipTextFamily):
        pytest.skip("this family's text encoders are never trained")
    components = {name: getattr(pipeline, name) for name in family.text_components}
    encoded = family.encode_prompts(pipeline, PROMPTS[:1])

    again = family.reencode(components, encoded.merge(token_ids=family.unconditional_token_ids(pipeline)))

    without = family.unconditional(pipeline, encoded)
    for name in without.tensors:
        torch.testing.assert_close(again.stack(name), without.stack(name), rtol=0, atol=1e-5)
