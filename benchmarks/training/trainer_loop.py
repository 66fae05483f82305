"""The training loop of this trainer, set up to make steps."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from training.data.dataset import read_dataset
from training.encoding.cache import Cache
from training.encoding.encoded_examples import Encoders
from training.model.adapted_model import DTYPES, AdaptedModel
from training.recipe import Recipe
from training.steps.batches import BatchSampler
from training.steps.train_step import TrainStep
from zthumb import families
from zthumb.sources.bases import find_base
from zthumb.sources.local import family_of


class TrainerLoop:
    """The training step of this trainer with one recipe, and the model's own passes without the rest of the step."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.base = find_base(recipe.base, recipe.vae)
        self.family, self.dataset = families.get(family_of(self.base)), read_dataset(folder)
        pipeline = self.load_pipeline(DTYPES[recipe.precision])
        with tempfile.TemporaryDirectory() as empty:
            started = time.perf_counter()
            encoders = Encoders(self.family, pipeline, self.base, Cache(Path(empty), 2**30), pipeline.device)
            self.examples = encoders.encode(self.dataset.of("train"), folder)
            self.cache_seconds = time.perf_counter() - started
        self.adapted = AdaptedModel.of(pipeline, self.family, recipe, pipeline.device)
        self.train_step = TrainStep(recipe, self.adapted, Accelerator(cpu=True), self.examples, None)
        self._batch = BatchSampler(recipe, self.examples, None, self.adapted.process).passes(0)[0][0]

    def load_pipeline(self, dtype: torch.dtype = torch.float32) -> Any:
        """Load the base again."""
        return self.family.load(self.base, dtype, torch.device("cpu"))

    def model_passes(self, _: int) -> None:
        """Run one forward and one backward pass of the model."""
        batch = self._batch
        predicted = self.adapted.predict(batch.latents, batch.times, batch.conditioning)
        predicted.sum().backward()  # type: ignore[no-untyped-call]
