"""Fill in the templates of both reports with the same filters and values."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from evaluation.report.sheets import grid_name
from evaluation.report.view_model import ReportView, format_guards, format_interval
from evaluation.results import Results


def render_template(template: str, view: ReportView, **more: Any) -> str:
    """Return the template filled in with ``view`` and the values in ``more``."""
    environment = Environment(
        loader=PackageLoader("evaluation"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "cell": _escape_cell,
        "scale": lambda value: f"{value:g}",
        "interval": format_interval,
        "figure": lambda value: f"{value:.3g}",
        "guards": lambda column: format_guards(column.candidate),
        "grid": grid_name,
    }
    environment.filters.update(filters)
    results = view.results
    smoke_check = next((extractor.name for extractor in results.extractors[:1] if extractor.is_smoke_check), None)
    return environment.get_template(template).render(
        view=view,
        results=results,
        verdict=results.verdict,
        smoke_check=smoke_check,
        provenance=_provenance(results),
        **more,
    )


def _escape_cell(value: Any) -> str:
    """Return text escaped so that it ends neither a Markdown table cell nor the alt text of an image."""
    return re.sub(r"([|\[\]\\`*_<])", r"\\\1", " ".join(str(value).split()))


def _provenance(results: Results) -> list[tuple[str, str]]:
    """Return the inputs of the evaluation by name, for the last table of a report."""
    git = results.environment.get("git")
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in results.settings.items()
    }
    return [
        *((f"adapter {adapter.name}", f"{adapter.path}, SHA-256 {adapter.sha256}") for adapter in results.adapters),
        *((f"training of {adapter.name}", adapter.training) for adapter in results.adapters if adapter.training),
        ("base", f"{results.base['name']}, SHA-256 {results.base['sha256']}"),
        ("generated on", f"{results.base['device']}, {results.base['precision']}"),
        *(
            ("extractor", f"{extractor.name} ({', '.join(filter(None, (extractor.weights, extractor.revision)))})")
            for extractor in results.extractors
        ),
        ("held-out images", f"{results.dataset['held_out']} (training images: {results.dataset['training']})"),
        ("SHA-256 of the held-out images", results.dataset["held_out_sha256"]),
        ("SHA-256 of the training images", results.dataset["training_sha256"]),
        ("SHA-256 of the prompts file", results.prompts_sha256),
        *((name, str(value)) for name, value in settings.items()),
        ("images", f"{results.generated} of {results.requested} generated, including those for the gates"),
        ("protocol", f"version {results.protocol_version}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in results.environment["packages"].items())),
        ("platform", ", ".join(f"{name} {value}" for name, value in results.environment["platform"].items())),
        ("commit", "none" if git is None else f"{git['commit']}{' with uncommitted changes' if git['dirty'] else ''}"),
    ]
