"""New tokens for the trigger word: where they begin, and that they learn."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from foundation.errors import BadInput
from tests.training.conftest import prepared_base, quick_arguments
from training import recipe as recipes
from training import train_lora
from training.data.dataset import NAME
from training.model import learned_tokens, peft_adapter
from training.steps.train_step import TrainStep

QUICK = ("prior.weight=0", "optimizer.warmup_steps=0")


def test_the_word_begins_as_what_the_base_reads_it_as(prepared: Path) -> None:
    # The miniature reads "zbadge" as four tokens of its own.
    _, base, trained, _ = prepared_base(prepared, *QUICK, "adapter.tokens=4")
    conditioning = trained.conditioning.select([0])
    noisy, timesteps = torch.stack(trained.latents[:1]), torch.tensor([600])
    with torch.no_grad():
        adapted = base.predict(noisy, timesteps, conditioning)
        with base.adapter_disabled():
            assert torch.allclose(base.predict(noisy, timesteps, conditioning), adapted, atol=1e-5)


def test_words_learn_at_a_rate_of_their_own_and_the_vocabulary_stays(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, *QUICK, "adapter.tokens=2", "optimizer.token_lr=0.01")
    rows = {part: learned_tokens.embeddings_of(model) for part, model in base.adapted.text_components.items()}
    own = {part: model.get_input_embeddings().own.weight.clone() for part, model in base.adapted.text_components.items()}
    before = {part: value.detach().clone() for part, value in rows.items() if value is not None}
    assert set(before) == {"text_encoder", "text_encoder_2"}

    TrainStep(recipe, base, Accelerator(cpu=True), trained, None).step(0)

    for part, value in before.items():
        learned = rows[part]
        assert learned is not None
        # AdamW's first step is as long as the rate.
        assert float((learned.detach() - value).abs().max()) == pytest.approx(0.01, rel=0.05)
        assert torch.equal(base.adapted.text_components[part].get_input_embeddings().own.weight, own[part])
    assert len(peft_adapter.trained_parameters(base.adapted.components["text_encoder"])) == 1


def test_a_trigger_word_in_no_caption_is_refused(prepared: Path) -> None:
    manifest = prepared / NAME
    manifest.write_text(manifest.read_text().replace('"trigger": "zbadge"', '"trigger": "sks"'))
    with pytest.raises(BadInput, match="'sks' is in no caption"):
        train_lora.main.__wrapped__(quick_arguments(prepared, "a", *QUICK, "adapter.tokens=2"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optimizer.token_lr=0.1"], "set adapter.tokens"),
        (["adapter.tokens=2", "optimizer.name=prodigy", "optimizer.token_lr=0.1"], "remove token_lr"),
        (["adapter.tokens=99"], "adapter.tokens"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipes.load("mini", settings)
