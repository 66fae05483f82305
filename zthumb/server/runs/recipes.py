"""The project's recipes: their names, their forms, and what a changed one would need, asked of the training itself."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from foundation.errors import BadInput
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.runs.project import Project


class Recipes:
    """The recipes of a project. Their schema is the training's, which this server knows nothing of."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._versions: tuple[tuple[str, int], ...] = ()
        self._descriptions: dict[str, Any] = {}

    def all(self) -> list[dict[str, Any]]:
        """Return every recipe: its name, base and what its file says of it."""
        found: list[dict[str, Any]] = self._described([])
        return found

    def form(self, name: str) -> dict[str, Any]:
        """Return the schema of recipes and the values of one, every default filled in; raises ``NotFound``."""
        self._check_name(name)
        found: dict[str, Any] = self._described([name])
        return found

    def changed(self, name: str, changes: Mapping[str, Any]) -> str:
        """Return the text of a recipe that is ``name`` with ``changes``."""
        self._check_name(name)
        if "extends" in changes:
            raise BadInput("changes: extends is set by the recipe that is chosen.")
        return yaml.safe_dump({"extends": name, **changes}, sort_keys=False, allow_unicode=True)

    def check(self, text: str) -> None:
        """Raise ``BadInput``, with the key that is wrong, if the training does not take the recipe."""
        self._ask("training.describe_recipes", text, lambda file: [file])

    def estimate(self, name: str, changes: Mapping[str, Any]) -> list[str]:
        """Return in lines what a step would need: memory by what takes it, and time."""
        answer = self._ask("training.train_lora", self.changed(name, changes), lambda file: ["--estimate", "--recipe", file])
        return [line.removeprefix("estimate: ") for line in answer.splitlines()]

    def prepare(self, dataset: str, name: str, changes: Mapping[str, Any]) -> list[str]:
        """Prepare a data set for a recipe and return what the preparation says, in lines."""
        # What was prepared before is prepared again: all that there is to say of it is wanted.
        arguments = ["--dataset", f"datasets/{dataset}"]
        answer = self._ask(
            "training.prepare_dataset", self.changed(name, changes), lambda file: [*arguments, "--recipe", file, "--force"]
        )
        return [line.removeprefix("prepare: ") for line in answer.splitlines()]

    def _described(self, arguments: list[str]) -> Any:
        """Ask the training once, and again when a recipe has changed."""
        versions = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in self._project.recipes.glob("*.yaml")))
        if self._versions != versions:
            self._versions, self._descriptions = versions, {}
        key = " ".join(arguments)
        if key not in self._descriptions:
            self._descriptions[key] = json.loads(self._project.answer("training.describe_recipes", arguments))
        return self._descriptions[key]

    def _ask(self, module: str, text: str, arguments: Any) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.yaml"
            file.write_text(text, encoding="utf-8")
            try:
                return self._project.answer(module, arguments(str(file)))
            except BadInput as error:
                raise BadInput(str(error).replace(f"{file}: ", "")) from None

    def _check_name(self, name: str) -> None:
        if name not in {path.stem for path in self._project.recipes.glob("*.yaml")}:
            raise NotFound(f"there is no recipe {name!r}.")
