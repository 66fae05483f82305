"""What is trained, of which parts, from which start."""

import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from foundation.errors import BadInput
from tests.training.conftest import QUICK, prepared_base, quick_arguments
from tests.training.test_train_lora import _adapter
from training import export_lora, train_lora
from training import recipe as recipes
from training.model import peft_adapter
from training.steps.train_step import TrainStep
from zthumb import families
from zthumb.adapters import fitting_base, module_shapes
from zthumb.adapters.adapter import Adapter
from zthumb.families.shared.clip_text import ClipTextFamily
from zthumb.sources.bases import find_base

pytestmark = pytest.mark.slow

TEXT, PISSA = ("adapter.text_encoders=true",), ("adapter.initialization=pissa",)


def _changed_parts(run: str) -> dict[str, float]:
    found = fitting_base.recognize(Path(f"models/lora/{run}/{run}.safetensors"), Path("models/mini-sdxl")).adapter
    return {part: max(float(each.change().abs().max()) for each in found.of(part).values()) for part in found.parts}


@pytest.mark.parametrize(
    "settings",
    [TEXT, PISSA, (*TEXT, *PISSA, "adapter.use_rslora=true"), ("adapter.use_dora=true",), (*PISSA, "adapter.rank=128")],
)
def test_the_adapted_model_starts_as_the_base(prepared: Path, settings: tuple[str, ...]) -> None:
    _, base, trained, _ = prepared_base(prepared, *settings)
    noisy, timesteps = torch.stack(trained.latents[:2]), torch.tensor([100, 900])
    with torch.no_grad():
        adapted = base.predict(noisy, timesteps, trained.conditioning.select([0, 1]))
        with base.adapter_disabled():
            alone = base.predict(noisy, timesteps, trained.conditioning.select([0, 1]))
        again = base.predict(noisy, timesteps, trained.conditioning.select([0, 1]))
    assert torch.allclose(adapted, alone, atol=1e-4)
    assert torch.equal(adapted, again)


@pytest.mark.parametrize("settings", [TEXT, PISSA])
def test_the_base_alone_is_untouched_by_what_was_learned(prepared: Path, settings: tuple[str, ...]) -> None:
    _, base, trained, _ = prepared_base(prepared, *settings)
    noisy, timesteps = torch.stack(trained.latents[:1]), torch.tensor([500])

    def alone() -> torch.Tensor:
        with torch.no_grad(), base.adapter_disabled():
            return base.predict(noisy, timesteps, trained.conditioning.select([0]))

    before = alone()
    with torch.no_grad():
        for parameter in peft_adapter.trained_parameters(base.adapted):
            parameter.add_(0.1)
        assert not torch.allclose(base.predict(noisy, timesteps, trained.conditioning.select([0])), before, atol=1e-3)
    assert torch.equal(alone(), before)


def _resumed_after_step_4(prepared: Path, *settings: str) -> bool:
    """Whether a run whose last steps are taken away ends with the same bytes again."""
    whole = _adapter("a")
    for left in ("checkpoints/step-000006", "manifest.json"):
        path = Path("outputs/lora/a") / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    train_lora.main(quick_arguments(prepared, "a", *settings))
    return _adapter("a") == whole


def test_both_text_encoders_are_trained_exported_and_resumed(prepared: Path) -> None:
    assert train_lora.main(quick_arguments(prepared, "a", *TEXT)) == 0
    assert export_lora.main(["--run", "a", "--dataset", str(prepared)]) == 0
    assert set(_changed_parts("a")) == {"unet", "text_encoder", "text_encoder_2"}
    assert all(change > 1e-4 for change in _changed_parts("a").values())
    assert _resumed_after_step_4(prepared, *TEXT)


def test_text_encoders_at_a_rate_of_their_own(prepared: Path) -> None:
    moved = {}
    for rate in (3e-3, 3e-5):
        sets = ("optimizer.lr=3e-3", f"optimizer.text_encoder_lr={rate}", "optimizer.warmup_steps=0", "prior.weight=0")
        recipe, base, trained, _ = prepared_base(prepared, *TEXT, *sets)
        train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
        train_step.step(0)
        layers = Adapter.from_peft(train_step.adapter(), 1.0)
        moved[rate] = {part: max(float(each.up.abs().max()) for each in layers.of(part).values()) for part in layers.parts}
    assert moved[3e-5]["text_encoder"] == pytest.approx(moved[3e-3]["text_encoder"] / 100, rel=0.1)
    assert moved[3e-5]["unet"] == pytest.approx(moved[3e-3]["unet"], rel=0.01)


def test_pissa_is_exported_as_what_was_learned_at_twice_the_rank(prepared: Path) -> None:
    recipe, base, _, _ = prepared_base(prepared, *PISSA)
    start = Adapter.from_peft(peft_adapter.exported_weights(base.components, base.family), recipe.adapter.scale)
    # At the start the two halves take each other away.
    assert max(float(each.change().abs().max()) for each in start.layers.values()) < 1e-5
    path, layer = next(iter(start.layers.items()))
    assert layer.rank == 2 * recipe.adapter.rank
    # The first half is the weight's own largest components.
    rest = base.components["unet"].get_submodule(path.removeprefix("unet.")).get_base_layer().weight
    rank = recipe.adapter.rank
    half = recipe.adapter.scale * layer.up[:, :rank] @ layer.down[:rank]
    left, values, right = torch.linalg.svd(rest.detach() + half, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    assert float((half - best).norm()) < 0.05 * float(best.norm())


def test_pissa_is_exported_and_resumed_with_the_same_bytes(prepared: Path) -> None:
    sets = (*PISSA, "optimizer.lr=3e-3")
    train_lora.main(quick_arguments(prepared, "a", *sets))
    export_lora.main(["--run", "a", "--dataset", str(prepared)])
    assert _changed_parts("a")["unet"] > 1e-3
    assert _resumed_after_step_4(prepared, *sets)


def test_what_cannot_be_had_together_is_refused() -> None:
    for sets, reason in (
        ([*PISSA, "adapter.use_dora=true"], "cannot be combined"),
        (["optimizer.name=prodigy", "optimizer.text_encoder_lr=1e-5"], "remove text_encoder_lr"),
    ):
        with pytest.raises(BadInput, match=reason) as refusal:
            recipes.load("mini", [*QUICK, *sets])
        assert "\n" not in str(refusal.value)


def test_a_dropped_caption_is_zeros_with_trained_encoders_too(prepared: Path) -> None:
    _, base, trained, _ = prepared_base(prepared, *TEXT)
    captions = trained.conditioning.select([0, 1])
    conditioning = captions.override([False, True], trained.unconditional)
    assert isinstance(base.family, ClipTextFamily)

    with torch.no_grad():
        again = base.family.reencode(base.adapted.text_components, conditioning)

    for name in ("prompt_embeds", "pooled_prompt_embeds"):
        assert float(again.stack(name)[1].abs().max()) == 0
        assert torch.allclose(again.stack(name)[0], captions.stack(name)[0], atol=1e-5)


def test_modules_are_named_as_adapter_files_name_them(prepared: Path) -> None:
    _, base, _, _ = prepared_base(prepared, *TEXT)
    known = module_shapes.of_folder("mini", find_base("models/mini-sdxl"), families.get("sdxl"))
    assert set(Adapter.from_peft(peft_adapter.exported_weights(base.components, base.family), 1.0).layers) < set(known.shapes)


def test_the_average_is_exported_and_training_goes_on_with_the_weights_themselves(prepared: Path) -> None:
    sets = ("adapter.ema_decay=0.9", "optimizer.warmup_steps=0", "optimizer.lr=1e-2", "prior.weight=0")
    recipe, base, trained, _ = prepared_base(prepared, *sets)
    train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
    for step in range(3):
        train_step.step(step)

    averaged, own = train_step.adapter(), peft_adapter.exported_weights(base.components, base.family)

    ups = [name for name in own if name.endswith("lora_B.weight")]
    # Those of the first modules have moved one way from zero; their average lies behind.
    assert sum(float(averaged[name].norm()) for name in ups) < 0.99 * sum(float(own[name].norm()) for name in ups)
    exported = peft_adapter.exported_weights(base.components, base.family)
    assert all(torch.equal(own[name], value) for name, value in exported.items())
