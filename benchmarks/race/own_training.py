"""The training step of this project as a contestant: ``python -m benchmarks.race.own_training FOLDER DATASET BATCH``.

It writes what the others train on to FOLDER before it is ready.
"""

import sys
from pathlib import Path

from benchmarks.race import material
from benchmarks.race.contest import answer
from benchmarks.training.trainer_loop import TrainerLoop
from foundation.offline import stay_offline
from training import recipe as recipes

SETTINGS = ("prior.weight=0",)
"""The peers have no prior; what is done between steps is in none."""


def main(folder: Path, dataset: Path, batch: int) -> None:
    """Answer counts of steps with seconds until the input ends."""
    stay_offline()
    recipe = recipes.load("mini", [*SETTINGS, f"batch_size={batch}"])
    loop = TrainerLoop(recipe, dataset)
    material.write(folder, recipe, loop.base, loop.examples, loop.adapted)
    answer(loop.train_step.step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
