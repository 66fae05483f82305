"""The routes of recipes: their names, the form of one, and what it would need."""

from fastapi import APIRouter

from zthumb.server.api.dependencies import TrainingDep
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.training_schemas import (
    LinesResponse,
    NameInPath,
    RecipeChanges,
    RecipeEntry,
    RecipeForm,
    RecipesResponse,
)

router = APIRouter(prefix="/recipes", tags=["training"], responses=not_found_response())


@router.get("")
def list_recipes(training: TrainingDep) -> RecipesResponse:
    """Return the recipes that adapters can be trained by, and the sets of prompts that they can be evaluated with."""
    recipes = [RecipeEntry(**recipe) for recipe in training.recipes.all()]
    return RecipesResponse(recipes=recipes, prompts=training.project.sets_of_prompts())


@router.get("/{name}")
def recipe_form(name: NameInPath, training: TrainingDep) -> RecipeForm:
    """Return what a form for a recipe is made from: the schema of all keys, and this recipe's values."""
    return RecipeForm(**training.recipes.form(name))


@router.post("/estimate")
def estimate(body: RecipeChanges, training: TrainingDep) -> LinesResponse:
    """Say what a step of a recipe would need on this machine: memory by what takes it, and time. Nothing is loaded."""
    return LinesResponse(lines=training.recipes.estimate(body.recipe, body.changes))
