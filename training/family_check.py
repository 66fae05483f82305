"""What a recipe asks of a base that the base's family cannot do, told before anything is loaded."""

from collections.abc import Iterator

from foundation.errors import BadInput
from training.recipe import ObjectiveRecipe, Recipe
from zthumb.families.base import ModelFamily
from zthumb.families.shared.clip_text import ClipTextFamily


def check_family(recipe: Recipe, family: ModelFamily) -> None:
    """Raise ``BadInput`` with a line for each value of ``recipe`` that has no meaning for bases of ``family``."""
    if wrong := list(_wrong(recipe, family)):
        raise BadInput("\n".join(wrong))


def _wrong(recipe: Recipe, family: ModelFamily) -> Iterator[str]:
    multiple = family.size_multiple
    if recipe.resolution % multiple:
        nearest = max(multiple, round(recipe.resolution / multiple) * multiple)
        yield f"resolution: {recipe.resolution} is not a multiple of {multiple}, which {family.name} needs; take {nearest}."
    known = family.lora_targets(family.denoiser_component)
    if recipe.adapter.targets not in known:
        yield f"adapter.targets: {family.name} has no such modules for {recipe.adapter.targets!r}; take {' or '.join(known)}."
    if not isinstance(family, ClipTextFamily):
        if recipe.adapter.text_encoders:
            yield f"adapter.text_encoders: those of {family.name} are not trained. Set it to false."
        if recipe.adapter.tokens:
            yield f"adapter.tokens: learned tokens are for CLIP text encoders, and {family.name} has others. Set it to 0."
    if recipe.text_encoders_on_cpu:
        yield from _wrong_with_text_encoders_on_cpu(recipe)
    if recipe.training_adapter is not None:
        yield from _wrong_with_training_adapter(recipe)
    yield from _wrong_objective(recipe.objective, family)


def _wrong_with_training_adapter(recipe: Recipe) -> Iterator[str]:
    if recipe.prior.weight > 0 and recipe.prior.prompts:
        yield "training_adapter: prior.prompts would show the base with it. Give regularization images instead of prompts."
    if recipe.previews.prompts:
        yield "training_adapter: previews.prompts would show the base with it. Leave them out."


def _wrong_with_text_encoders_on_cpu(recipe: Recipe) -> Iterator[str]:
    if recipe.adapter.text_encoders or recipe.adapter.tokens:
        yield "text_encoders_on_cpu: they are trained on the device. Set it to false."
    if recipe.prior.weight > 0 and recipe.prior.prompts:
        yield "text_encoders_on_cpu: prior.prompts are encoded on the device. Give regularization images instead of prompts."
    if recipe.previews.prompts:
        yield "text_encoders_on_cpu: previews.prompts are encoded on the device. Leave them out."


def _wrong_objective(objective: ObjectiveRecipe, family: ModelFamily) -> Iterator[str]:
    if family.is_flow:
        if objective.min_snr_gamma is not None:
            yield f"objective.min_snr_gamma: {family.name} is trained by flow matching, which has no min-SNR. Set it to null."
        if objective.prediction != "base":
            yield f"objective.prediction: {family.name} predicts the velocity of flow matching. Set it to base."
    elif objective.timestep_shift != 1.0:
        yield f"objective.timestep_shift: is for flow matching, and {family.name} is a diffusion model. Set it to 1."
    if objective.guidance_scale != 1.0 and family.guidance(1.0).embedded is None:
        yield f"objective.guidance_scale: {family.name} is told no guidance scale. Set it to 1."
