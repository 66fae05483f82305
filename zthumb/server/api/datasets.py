"""The routes of data sets: images one file at a time, their captions and crops, and what the preparation says of them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import FileResponse

from zthumb.server.api.dependencies import TrainingDep
from zthumb.server.api.error_responses import Responses, not_found_response
from zthumb.server.api.training_schemas import (
    Caption,
    Crop,
    DatasetEntry,
    DatasetImageEntry,
    DatasetResponse,
    DatasetsResponse,
    FileInPath,
    LinesResponse,
    NameInPath,
    NewDataset,
    RecipeChanges,
)
from zthumb.server.runs.datasets import DatasetImage
from zthumb.server.small_image import small_version

router = APIRouter(prefix="/datasets", tags=["training"], responses=not_found_response())

_PICTURE: Responses = {200: {"content": {"image/webp": {}}}}
_ONCE = {"Cache-Control": "private, max-age=31536000, immutable"}
"""For an address that has the version of the file in it."""


@router.get("")
def list_datasets(training: TrainingDep) -> DatasetsResponse:
    """Return the data sets in the project."""
    datasets = training.datasets
    return DatasetsResponse(
        datasets=[
            DatasetEntry(name=name, trigger=datasets.trigger(name), images=datasets.count(name)) for name in datasets.names()
        ]
    )


@router.post("", status_code=201)
def create_dataset(body: NewDataset, training: TrainingDep) -> DatasetResponse:
    """Create an empty data set."""
    training.datasets.create(body.name, body.trigger)
    return DatasetResponse(name=body.name, trigger=body.trigger, images=[])


@router.get("/{name}")
def get_dataset(name: NameInPath, training: TrainingDep) -> DatasetResponse:
    """Return the images of a data set with their captions."""
    datasets = training.datasets
    images = [_entry(image) for image in datasets.images(name)]
    return DatasetResponse(name=name, trigger=datasets.trigger(name), images=images)


@router.put("/{name}/images/{file:path}")
def add_image(
    name: NameInPath, file: FileInPath, data: Annotated[bytes, Body(media_type="application/octet-stream")], training: TrainingDep
) -> DatasetImageEntry:
    """Add an image, or replace the one of that name: the body is the file. One that cannot be read is refused."""
    return _entry(training.datasets.add(name, file, data))


@router.get("/{name}/images/{file:path}", responses=_PICTURE)
def get_image(
    name: NameInPath,
    file: FileInPath,
    training: TrainingDep,
    edge: Annotated[
        int | None, Query(ge=16, le=2048, description="the longer edge of a small version, in pixels", examples=[256])
    ] = None,
    version: Annotated[
        str | None, Query(max_length=100, description="changes with the file, so that it can be kept", examples=["18-5000"])
    ] = None,
) -> Response:
    """Return an image upright and in sRGB, as it is trained on."""
    path = training.datasets.path(name, file)
    headers = _ONCE if version else {"Cache-Control": "no-store"}
    return Response(small_version(path, edge), media_type="image/webp", headers=headers)


@router.delete("/{name}/images/{file:path}", status_code=204)
def remove_image(name: NameInPath, file: FileInPath, training: TrainingDep) -> None:
    """Remove an image and its caption."""
    training.datasets.remove(name, file)


@router.put("/{name}/captions/{file:path}")
def set_caption(name: NameInPath, file: FileInPath, body: Caption, training: TrainingDep) -> DatasetImageEntry:
    """Write the caption of an image."""
    return _entry(training.datasets.set_caption(name, file, body.caption))


@router.put("/{name}/crops/{file:path}")
def crop_image(name: NameInPath, file: FileInPath, body: Crop, training: TrainingDep) -> DatasetImageEntry:
    """Crop an image, which stays as it was beside it, or put the whole image back."""
    datasets = training.datasets
    return _entry(datasets.uncrop(name, file) if body.box is None else datasets.crop(name, file, body.box))


@router.post("/{name}/prepare", responses={409: {"description": "a run reads the data set"}})
def prepare(name: NameInPath, body: RecipeChanges, training: TrainingDep) -> LinesResponse:
    """Prepare the images for a recipe, as a run begins, and return what there is to say of them."""
    training.datasets.folder(name)
    training.runs.check_is_free(name)
    return LinesResponse(lines=training.recipes.prepare(name, body.recipe, body.changes))


@router.get("/{name}/preview", responses={200: {"content": {"image/png": {}}}})
def preview(name: NameInPath, training: TrainingDep) -> FileResponse:
    """Return every image as it is used for training, in one picture, after the preparation."""
    return FileResponse(training.datasets.preview(name), media_type="image/png", headers={"Cache-Control": "no-store"})


def _entry(image: DatasetImage) -> DatasetImageEntry:
    return DatasetImageEntry(**asdict(image))
