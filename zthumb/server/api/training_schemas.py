"""The bodies of the routes for data sets, recipes and runs."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from foundation.verdict import Verdict
from zthumb.server.api import schema_examples
from zthumb.server.runs.run_folder import State

Name = Annotated[str, Field(max_length=100, examples=["demo"])]
NameInPath = Annotated[str, Path(max_length=100, examples=["demo"])]
FileInPath = Annotated[str, Path(max_length=300, examples=["a.png"])]


def _body(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra=schema_examples.of_schema(example))


def _answer(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra=schema_examples.of_schema(example))


class TrainingResponse(BaseModel):
    """Whether adapters can be trained from here: the setting ZTHUMB_TRAINING says so."""

    model_config = _answer({"is_enabled": True})

    is_enabled: bool


# Data sets

IMAGE = {"file": "a.png", "bytes": 20480, "version": "18-5000", "caption": "a photo of a red zbadge", "is_cropped": False}


class DatasetImageEntry(BaseModel):
    """An image of a data set: ``file`` is its path among the images, ``version`` changes when it does."""

    model_config = _answer(IMAGE)

    file: str
    bytes: int
    version: str
    caption: str | None
    is_cropped: bool = Field(description="whether the whole image is kept and can be put back")


class DatasetEntry(BaseModel):
    """A data set, its trigger word and how many images it has."""

    name: str
    trigger: str | None
    images: int


class DatasetsResponse(BaseModel):
    """The data sets by name."""

    model_config = _answer({"datasets": [{"name": "z", "trigger": "zbadge", "images": 10}]})

    datasets: list[DatasetEntry]


class DatasetResponse(BaseModel):
    """The images of a data set."""

    model_config = _answer({"name": "z", "trigger": "zbadge", "images": [IMAGE]})

    name: str
    trigger: str | None
    images: list[DatasetImageEntry]


class NewDataset(BaseModel):
    """A data set to create, with the word that its captions use for the concept."""

    model_config = _body({"name": "mine", "trigger": "mxcat"})

    name: Name
    trigger: Annotated[str, Field(max_length=60)]


class Caption(BaseModel):
    """The caption of an image; an empty one is none."""

    model_config = _body({"caption": "a photo of a red mxcat"})

    caption: Annotated[str, Field(max_length=10_000)]


class Crop(BaseModel):
    """A box in pixels of the image as it is shown; null puts the whole image back."""

    model_config = _body({"box": [0, 0, 512, 512]})

    box: tuple[int, int, int, int] | None


class RecipeChanges(BaseModel):
    """A recipe and the values that replace its own, nested as in a recipe file."""

    model_config = _body({"recipe": "mini", "changes": {"steps": 200, "adapter": {"rank": 8}}})

    recipe: Name
    changes: Mapping[str, Any] = {}


class LinesResponse(BaseModel):
    """What a stage says, in lines."""

    model_config = _answer({"lines": ["10 images, trigger 'zbadge' in 10 captions", "train: 9"]})

    lines: list[str]


# Recipes


class RecipeEntry(BaseModel):
    """A recipe, its base, and what its file says of it."""

    name: str
    base: str
    resolution: int
    steps: int
    summary: str


class RecipesResponse(BaseModel):
    """The recipes by name, and the sets of prompts that an adapter can be evaluated with."""

    model_config = _answer(
        {
            "recipes": [
                {"name": "mini", "base": "models/mini-sdxl", "resolution": 128, "steps": 400, "summary": "Minutes on a CPU."}
            ],
            "prompts": ["mini", "sdxl"],
        }
    )

    recipes: list[RecipeEntry]
    prompts: list[str]


class RecipeForm(BaseModel):
    """The JSON schema of recipes and the values of one, every default filled in."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra=schema_examples.of_schema(
            {"schema": {"properties": {"steps": {"minimum": 1}}}, "values": {"steps": 400}}
        ),
    )

    json_schema: dict[str, Any] = Field(alias="schema")
    values: dict[str, Any]


# Runs

RUN = {
    "name": "mine-1",
    "kind": "train",
    "state": "running",
    "created": 1795724000.0,
    "dataset": "mine",
    "recipe": "mini",
    "changes": {"steps": 200},
    "adapter": None,
    "stage": "train",
    "message": "train:  40%|████ | 80/200 [00:36<00:54, 2.2step/s]",
    "step": 80,
    "steps": 200,
    "seconds_left": 54.2,
    "seconds_a_step": 0.45,
    "is_slow": False,
    "verdict": None,
    "sentence": None,
    "has_report": False,
}


class NewRun(BaseModel):
    """A training of a data set by a recipe, and the evaluation of what comes out of it."""

    model_config = _body({"name": "mine-1", "dataset": "mine", "recipe": "mini", "changes": {"steps": 200}})

    name: Name
    dataset: Name
    recipe: Name
    changes: Mapping[str, Any] = {}
    prompts: Annotated[str | None, Field(max_length=100, description="a file in evaluation/prompts; by default the base's")] = (
        None
    )


class NewEvaluation(BaseModel):
    """An evaluation of an adapter on the base that is served, against the held-out images of a data set."""

    model_config = _body({"name": "strong-1", "dataset": "z", "adapter": "strong"})

    name: Name
    dataset: Name
    adapter: Annotated[str, Field(max_length=1000, description="its id, as GET /adapters lists it")]
    prompts: Annotated[str | None, Field(max_length=100)] = None


COMPARISON_EXAMPLE = {
    "first": "one: demo at 0.8",
    "second": "other: demo at 0.8",
    "differences": [
        {
            "metric": "similarity",
            "first": {"mean": 0.6, "low": 0.55, "high": 0.65, "prompts": 16},
            "second": {"mean": 0.64, "low": 0.59, "high": 0.69, "prompts": 16},
            "change": {"mean": 0.04, "low": 0.01, "high": 0.07, "prompts": 16},
            "p": 0.012,
        }
    ],
    "worse": [],
}


class MeanOverPrompts(BaseModel):
    """A mean over prompts with its 95 % interval; without bounds if there is only one prompt."""

    mean: float
    low: float | None = None
    high: float | None = None
    prompts: int


class MetricDifference(BaseModel):
    """A metric of both adapters over the prompts they share; ``change`` is the second minus the first, ``p`` two-sided."""

    metric: str
    first: MeanOverPrompts
    second: MeanOverPrompts
    change: MeanOverPrompts
    p: float


class ComparisonResponse(BaseModel):
    """Two evaluated adapters, prompt by prompt. ``worse`` says in what the second is worse than the first."""

    model_config = _answer(COMPARISON_EXAMPLE)

    first: str
    second: str
    differences: list[MetricDifference]
    worse: list[str]


class RunEntry(BaseModel):
    """A run, how it is going, and what came out of it.

    ``message`` is the last line it printed, or its progress bar. ``is_slow``: its steps take far longer than they did before.
    """

    model_config = _answer(RUN)

    name: str
    kind: str
    state: State
    created: float = Field(description="seconds since 1970")
    dataset: str
    recipe: str | None = None
    changes: Mapping[str, Any]
    adapter: str | None = None
    stage: str | None = Field(default=None, description="prepare, check, train, export or evaluate")
    message: str
    step: int | None = None
    steps: int | None = None
    seconds_left: float | None = Field(default=None, description="estimated seconds until the last step")
    seconds_a_step: float | None = None
    is_slow: bool
    verdict: Verdict | None = None
    sentence: str | None = None
    has_report: bool


class RunsResponse(BaseModel):
    """The runs, the newest first."""

    model_config = _answer({"runs": [RUN]})

    runs: list[RunEntry]


class PreviewStep(BaseModel):
    """The previews of a step, as paths of images."""

    step: int
    paths: list[str]


class CourseResponse(BaseModel):
    """The course of a training: ``metrics`` after the step that was asked for, every validation and preview, the log's end."""

    model_config = _answer(
        {
            "metrics": [{"step": 1, "loss": 0.21, "prior": 0.1, "gradient_norm": 0.4, "rate": 0.0001}],
            "validations": [{"step": 0, "images": 2, "loss": {"mean": 0.2, "low": 0.1, "high": 0.3}, "strata": []}],
            "previews": [{"step": 100, "paths": ["/runs/mine-1/previews/100/00.png"]}],
            "log": ["prepare: 10 images"],
        }
    )

    metrics: list[dict[str, Any]]
    validations: list[dict[str, Any]]
    previews: list[PreviewStep]
    log: list[str]
