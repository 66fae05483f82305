"""All that trains from a page, of one server: the project, its data sets and recipes, and the runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.reports import Reports
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

    def compare(self, first: str, second: str) -> dict[str, Any]:
        """Compare the adapters of two reports; raises ``NotFound``, or ``BadInput`` if they have too little in common."""
        reports = Reports(self.project.reports)
        for run in (first, second):
            if reports.find(run) is None:
                raise NotFound(f"there is no report {run!r}.")
        found: dict[str, Any] = json.loads(self.project.answer("evaluation", ["compare", first, second, "--json"]))
        return found


def open_training(root: Path, data_folder: Path) -> Training:
    """Return what trains in the project at ``root``, its runs kept in ``data_folder``; raises ``BadInput`` if it is none."""
    project = Project(root)
    recipes = Recipes(project)
    runs = Runs(data_folder / FOLDER, project, recipes)
    return Training(project, Datasets(project), recipes, runs, RunListing(runs, project))
