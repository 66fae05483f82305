"""All that trains from a page, of one server: the project, its data sets and recipes, and the runs."""

from dataclasses import dataclass
from pathlib import Path

from zthumb.server.runs.datasets import Datasets
from zthumb.server.runs.project import Project
from zthumb.server.runs.recipes import Recipes
from zthumb.server.runs.run_listing import RunListing
from zthumb.server.runs.runs import Runs

FOLDER = "runs"


@dataclass(frozen=True)
class Training:
    """What the routes for training use."""

    project: Project
    datasets: Datasets
    recipes: Recipes
    runs: Runs
    listing: RunListing


def open_training(root: Path, data_folder: Path) -> Training:
    """Return what trains in the project at ``root``, its runs kept in ``data_folder``; raises ``BadInput`` if it is none."""
    project = Project(root)
    recipes = Recipes(project)
    runs = Runs(data_folder / FOLDER, project, recipes)
    return Training(project, Datasets(project), recipes, runs, RunListing(runs, project))
