"""How templates are filled in, alike for both reports."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from evaluation.report.sheets import grid_name
from evaluation.report.view_model import Shown, guards, interval
from evaluation.results import Results


def render(template: str, shown: Shown, **more: Any) -> str:
    """The template filled in."""
    environment = Environment(
        loader=PackageLoader("evaluation"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "cell": _cell,
        "scale": lambda value: f"{value:g}",
        "interval": interval,
        "figure": lambda value: f"{value:.3g}",
        "guards": lambda column: guards(column.candidate),
        "grid": grid_name,
    }
    environment.filters.update(filters)
    results = shown.results
    smoke = next((each.name for each in results.extractors[:1] if each.is_smoke_check), None)
    return environment.get_template(template).render(
        shown=shown, results=results, verdict=results.verdict, smoke=smoke, provenance=_provenance(results), **more
    )


def _cell(value: Any) -> str:
    """Text that neither ends a table cell nor the description of an image."""
    return re.sub(r"([|\[\]\\`*_<])", r"\\\1", " ".join(str(value).split()))


def _provenance(results: Results) -> list[tuple[str, str]]:
    """What went in, for the last table of a report."""
    git = results.environment.get("git")
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in results.settings.items()
    }
    return [
        *((f"adapter {each.name}", f"{each.path}, SHA-256 {each.sha256}") for each in results.adapters),
        *((f"training of {each.name}", each.training) for each in results.adapters if each.training),
        ("base", f"{results.base['name']}, SHA-256 {results.base['sha256']}"),
        ("generated on", f"{results.base['device']}, {results.base['precision']}"),
        *(
            ("compared by", f"{each.name} ({', '.join(filter(None, (each.weights, each.revision)))})")
            for each in results.extractors
        ),
        ("held-out images", f"{results.dataset['held_out']} (training images: {results.dataset['training']})"),
        ("SHA-256 of the held-out images", results.dataset["held_out_sha256"]),
        ("SHA-256 of the training images", results.dataset["training_sha256"]),
        ("SHA-256 of the prompts file", results.prompts_sha256),
        *((name, str(value)) for name, value in settings.items()),
        ("images", f"{results.answered} of {results.asked} answered, those of the gates among them"),
        ("protocol", f"version {results.protocol_version}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in results.environment["packages"].items())),
        ("platform", ", ".join(f"{name} {value}" for name, value in results.environment["platform"].items())),
        ("commit", "none" if git is None else f"{git['commit']}{' with changes' if git['dirty'] else ''}"),
    ]
