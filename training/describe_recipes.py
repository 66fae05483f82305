"""Describe recipes for other programs: all in short, or one with every value and the schema that forms are made from."""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import takewhile

from foundation.errors import DONE, command
from training import recipe as recipes
from training.recipe import FOLDER, Recipe


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print JSON; exit code 0 done, 2 for a recipe that is wrong."""
    arguments = _parser().parse_args(argv)
    if arguments.recipe is None:
        print(json.dumps([_in_short(name) for name in recipes.names()]))
        return DONE
    recipe = recipes.load(arguments.recipe)
    values = recipe.model_dump(mode="json", by_alias=True)
    print(json.dumps({"schema": Recipe.model_json_schema(by_alias=True), "values": values}))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.describe_recipes",
        description="Print all recipes with their bases as JSON, or, of one, every value and the schema of recipes.",
    )
    parser.add_argument("recipe", nargs="?", help="a recipe's name or file")
    return parser


def _in_short(name: str) -> dict[str, object]:
    """Return a recipe's name, base, resolution and the comment that its file begins with."""
    recipe = recipes.load(name)
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    summary = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    return {"name": name, "base": recipe.base, "resolution": recipe.resolution, "steps": recipe.steps, "summary": summary}


if __name__ == "__main__":
    sys.exit(main())
