"""The routes of runs: trainings and evaluations that the server starts, what they do, and what came out of them."""

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse

from foundation.errors import BadInput
from zthumb.server.api.dependencies import RunListingDep, ServiceDep, TrainingDep
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.training_schemas import (
    ComparisonResponse,
    CourseResponse,
    NameInPath,
    NewEvaluation,
    NewRun,
    PreviewStep,
    RunEntry,
    RunsResponse,
    TrainingResponse,
)
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.runs import course
from zthumb.server.settings import Settings, variables

router = APIRouter(tags=["training"])

_LOG_LINES = 200
_FOUND = not_found_response()
_CONFLICT = {**_FOUND, 409: {"description": "the run is in another state than that asks for"}}


_CHANGE_IMAGES = ("vae", "text_encoder", "quantization", "salience", "dummy")


def _base(settings: Settings) -> str:
    """Return what names the base that is served, for a server that is started elsewhere; ``BadInput`` if it would be another."""
    for name in _CHANGE_IMAGES:
        if getattr(settings, name) != Settings.model_fields[name].default:
            raise BadInput(
                f"adapter: an evaluation judges on the base as it is, and this server serves another ({variables(name)[0]}). "
                "Run `python -m evaluation --server` with its address instead."
            )
    named = settings.model
    return str(FilePath(named).resolve()) if FilePath(named).exists() else named


@router.get("/training")
def training_state(service: ServiceDep) -> TrainingResponse:
    """Say whether adapters can be trained from here."""
    return TrainingResponse(is_enabled=service.settings.training is not None)


@router.get("/runs", responses=_FOUND)
def list_runs(training: TrainingDep, listing: RunListingDep) -> RunsResponse:
    """Return the runs, the newest first."""
    return RunsResponse(runs=[listing.entry(run) for run in training.runs.all()])


@router.post("/runs", status_code=201, responses=_FOUND)
def train(body: NewRun, training: TrainingDep, listing: RunListingDep) -> RunEntry:
    """Add a training and the evaluation of its adapter; it starts when the runs before it have ended."""
    return listing.entry(training.runs.train(body.name, body.dataset, body.recipe, body.changes, body.prompts))


@router.post("/evaluations", status_code=201, responses=_FOUND)
def evaluate(body: NewEvaluation, training: TrainingDep, service: ServiceDep, listing: RunListingDep) -> RunEntry:
    """Add an evaluation of an adapter on the base that is served."""
    adapter = service.registry.paths_by_id().get(body.adapter)
    if adapter is None:
        raise NotFound(f"there is no adapter {body.adapter!r}.")
    return listing.entry(training.runs.evaluate(body.name, body.dataset, adapter, _base(service.settings), body.prompts))


@router.get("/comparisons", responses=_FOUND)
def compare(
    training: TrainingDep,
    first: Annotated[str, Query(max_length=100, examples=["one"])],
    second: Annotated[str, Query(max_length=100, examples=["other"])],
) -> ComparisonResponse:
    """Compare the adapters of two reports at their recommended or strongest scales, as ``python -m evaluation compare``."""
    return ComparisonResponse(**training.compare(first, second))


@router.get("/runs/{name}", responses=_FOUND)
def get_run(name: NameInPath, training: TrainingDep, listing: RunListingDep) -> RunEntry:
    """Return a run."""
    return listing.entry(training.runs.get(name))


@router.get("/runs/{name}/course", responses=_FOUND)
def get_course(
    name: NameInPath,
    training: TrainingDep,
    listing: RunListingDep,
    after: Annotated[int, Query(ge=0, description="leave out the metrics up to this step", examples=[100])] = 0,
) -> CourseResponse:
    """Return the losses, previews and the log of a run."""
    run = training.runs.get(name)
    outputs = listing.outputs(run)
    if outputs is None:
        return CourseResponse(metrics=[], validations=[], previews=[], log=run.last_lines(_LOG_LINES))
    return CourseResponse(
        metrics=course.metrics(outputs, after),
        validations=course.validations(outputs),
        previews=[
            PreviewStep(step=step, paths=[_preview_path(name, step, file) for file in files])
            for step, files in course.previews(outputs)
        ],
        log=run.last_lines(_LOG_LINES),
    )


def _preview_path(name: str, step: int, file: FilePath) -> str:
    """Return the path of a preview, which changes when the file does: a training that starts over makes it anew."""
    return f"/runs/{name}/previews/{step}/{file.name}?version={file.stat().st_mtime_ns:x}"


@router.get("/runs/{name}/previews/{step}/{file}", responses={**_FOUND, 200: {"content": {"image/png": {}}}})
def get_preview(
    name: NameInPath,
    step: Annotated[int, Path(ge=0, examples=[100])],
    file: Annotated[str, Path(max_length=40, examples=["00.png"])],
    training: TrainingDep,
) -> FileResponse:
    """Return a preview that the training generated."""
    path = course.preview(training.project.outputs(training.runs.get(name).name), step, file)
    if path is None:
        raise NotFound(f"there is no preview {file!r} of step {step}.")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.post("/runs/{name}/stop", responses=_CONFLICT)
def stop_run(name: NameInPath, training: TrainingDep, listing: RunListingDep) -> RunEntry:
    """Ask a run to stop after the step that it makes, with a checkpoint."""
    run = training.runs.get(name)
    training.runs.stop(run)
    return listing.entry(run)


@router.post("/runs/{name}/resume", responses=_CONFLICT)
def resume_run(name: NameInPath, training: TrainingDep, listing: RunListingDep) -> RunEntry:
    """Let a run that was stopped, interrupted or failed go on where it was."""
    run = training.runs.get(name)
    training.runs.resume(run)
    return listing.entry(run)


@router.delete("/runs/{name}", status_code=204, responses=_CONFLICT)
def remove_run(name: NameInPath, training: TrainingDep) -> None:
    """Take a run off the list; its adapter and its report stay."""
    training.runs.remove(training.runs.get(name))
