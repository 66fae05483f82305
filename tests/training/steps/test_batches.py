"""However a step's batch is divided among passes and processes, the same images meet the same noise."""

from dataclasses import replace

import pytest
import torch

from training.encoding.encoded_examples import Examples
from training.recipe import Recipe
from training.steps.batches import Batch, BatchSampler
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.ddpm import DDPM

PROCESS = DDPM(torch.linspace(0.999, 0.005, 1000), "epsilon")


def _examples(count: int, sizes: tuple[tuple[int, int], ...] = ((16, 16),)) -> Examples:
    embeds = torch.arange(count)[:, None, None].expand(count, 3, 2).float() + 1
    return Examples(
        latents=tuple(torch.full((4, *sizes[index % len(sizes)]), float(index)) for index in range(count)),
        conditioning=Conditioning.stacked(embeds=embeds, sizes=torch.zeros(count, 6)),
        unconditional=Conditioning.stacked(embeds=torch.zeros(1, 3, 2)),
        masks=(None,) * count,
        names=tuple(f"raw/{index}.png" for index in range(count)),
    )


def _recipe(batch_size: int, accumulation: int = 1, dropout: float = 0.3) -> Recipe:
    values = {"base": "x", "resolution": 128, "batch_size": batch_size, "gradient_accumulation_steps": accumulation}
    return Recipe.model_validate({**values, "objective": {"caption_dropout": dropout}, "prior": {"batch_size": batch_size}})


def _contents(batches: list[Batch]) -> list[tuple[str, int, float, float]]:
    """Image, time, sum of noise and of embeddings of every example, sorted."""
    return sorted(
        (
            batch.names[index],
            int(batch.times[index]),
            float(batch.noise[index].sum()),
            float(batch.conditioning.stack("embeds")[index].sum()),
        )
        for batch in batches
        for index in range(len(batch.names))
    )


def _step(batch_sampler: BatchSampler, step: int) -> list[Batch]:
    return [batch for one_pass in batch_sampler.passes(step) for batch in one_pass]


@pytest.mark.parametrize("with_prior", [False, True])
def test_two_processes_or_two_passes_see_what_one_of_twice_the_batch_sees(with_prior: bool) -> None:
    examples = _examples(13, ((16, 16), (12, 20)))
    prior = _examples(5) if with_prior else None
    whole = BatchSampler(_recipe(8), examples, prior, PROCESS)
    halves = [BatchSampler(_recipe(4), examples, prior, PROCESS, rank, 2) for rank in range(2)]
    passes = BatchSampler(_recipe(4, accumulation=2), examples, prior, PROCESS)

    for step in range(6):
        once = _contents(_step(whole, step))
        assert _contents([batch for half in halves for batch in _step(half, step)]) == once
        assert _contents(_step(passes, step)) == once


def test_each_batch_is_of_one_size_and_knows_its_prior() -> None:
    batches = _step(BatchSampler(_recipe(4), _examples(7, ((16, 16), (12, 20))), _examples(3, ((12, 20),)), PROCESS), 1)

    assert all(len({latents.shape for latents in batch.latents}) == 1 for batch in batches)
    assert sum(int(batch.prior.sum()) for batch in batches) == 4
    assert sum(int((~batch.prior).sum()) for batch in batches) == 4


def test_captions_are_dropped_as_often_as_asked_and_never_the_priors() -> None:
    batch_sampler = BatchSampler(_recipe(8, dropout=0.25), _examples(8), _examples(3), PROCESS)
    batches = [batch for step in range(60) for batch in _step(batch_sampler, step)]

    dropped = torch.cat([batch.conditioning.stack("embeds").sum(dim=(1, 2)) == 0 for batch in batches])
    prior = torch.cat([batch.prior for batch in batches])
    assert float(dropped[~prior].float().mean()) == pytest.approx(0.25, abs=0.06)
    assert not dropped[prior].any()


def test_a_mask_gives_its_image_the_weight_of_any_other() -> None:
    half = torch.zeros(1, 16, 16)
    half[:, :8] = 1
    examples = replace(_examples(2), masks=(half, None))

    (batch,) = _step(BatchSampler(_recipe(2), examples, None, PROCESS), 0)

    assert batch.loss_mask is not None
    masked = batch.names.index("raw/0.png")
    assert batch.loss_mask[masked].unique().tolist() == [0.0, 2.0]
    assert batch.loss_mask[1 - masked].unique().tolist() == [1.0]
    assert batch.loss_mask.mean(dim=(1, 2, 3)).tolist() == [1.0, 1.0]


def test_of_several_captions_one_is_drawn_each_epoch_and_always_the_same_one() -> None:
    two = _examples(4)
    examples = replace(_examples(2), conditioning=two.conditioning, captions=((0,), (1, 2, 3)), repeats=(1, 1))
    batch_sampler, again = (BatchSampler(_recipe(2, dropout=0), examples, None, PROCESS) for _ in range(2))

    captions = []
    for step in range(20):
        (batch,), (same,) = _step(batch_sampler, step), _step(again, step)
        assert torch.equal(batch.conditioning.stack("embeds"), same.conditioning.stack("embeds"))
        embeds = batch.conditioning.stack("embeds")
        captions.append({name: int(embeds[index, 0, 0]) - 1 for index, name in enumerate(batch.names)})

    assert {drawn["raw/0.png"] for drawn in captions} == {0}
    assert {drawn["raw/1.png"] for drawn in captions} == {1, 2, 3}


def test_an_image_with_repeats_is_seen_that_much_more_often() -> None:
    examples = replace(_examples(3), captions=((0,), (1,), (2,)), repeats=(1, 1, 2))
    batch_sampler = BatchSampler(_recipe(4), examples, None, PROCESS)

    names = [name for step in range(5) for batch in _step(batch_sampler, step) for name in batch.names]

    assert [names.count(f"raw/{index}.png") for index in range(3)] == [5, 5, 10]


def test_every_caption_of_an_image_for_regularization_is_drawn() -> None:
    prior = replace(_examples(2), captions=((0,), (1, 2)))
    prior = replace(prior, conditioning=_examples(3).conditioning)
    recipe = Recipe.model_validate({**_recipe(1).model_dump(by_alias=True), "prior": {"batch_size": 1}, "epochs": None})
    batch_sampler = BatchSampler(recipe, _examples(2), prior, PROCESS)

    drawn = {
        float(batch.conditioning.stack("embeds")[-1, 0, 0])
        for step in range(40)
        for batch in _step(batch_sampler, step)
        if batch.prior.any()
    }

    assert drawn == {1.0, 2.0, 3.0}
