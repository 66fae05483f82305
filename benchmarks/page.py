"""``python -m benchmarks.page``: write ``docs/benchmarks.md`` from the figures in ``docs/benchmarks/*.json``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.errors import DONE, command
from foundation.files import write_text

FIGURES, PAGE = Path("docs/benchmarks"), Path("docs/benchmarks.md")

Figures = dict[str, Any]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the page anew and return exit code 0."""
    argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__).parse_args(argv)
    write_text(PAGE, render_page(FIGURES))
    print(PAGE)
    return DONE


def render_page(folder: Path) -> str:
    """Render the page of the figures in ``folder``; a section without figures says that it was not measured."""
    sections = [_train, _busy, _prepare, _serve, _soak, _variants, _steps, _settings, _pages, _race, _gpu, _gpu_serve]
    names = ["train", "busy", "prepare", "serve", "soak", "variants", "steps", "settings", "pages", "race", "gpu", "gpu_serve"]
    figures_by_section = [_read_figures(folder / f"{name}.json") for name in names]
    texts = [section(figures) for section, figures in zip(sections, figures_by_section, strict=True)]
    return "\n\n".join([_HEAD.strip(), *(text.strip() for text in texts)]) + "\n"


_HEAD = """
# Benchmarks

The command above each table writes its figures to `outputs/bench/`; they are copied to `docs/benchmarks/` and put on this page by
`python -m benchmarks.page`. What is compared takes turns within one run, so that other load on the machine affects each
equally; ratios are medians over the turns.
"""


def _train(figures: Figures | None) -> str:
    title = "## A training step\n\n    make bench_train"
    if figures is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

The miniature at batch size {figures["batch"]} on {figures["threads"]} threads against a plain loop in the style of the diffusers
example, which encodes images and captions in every step and computes in fp32. Prior preservation is off: the plain loop has none.

| | recipe as shipped | with `{"` `".join(figures["fast"]["settings"])}` |
|---|---|---|
{_row(figures, "seconds per step", "seconds_per_step", ".3f")}
| seconds per step of the plain loop | {figures["plain_seconds_per_step"]:.3f} | {figures["plain_seconds_per_step"]:.3f} |
{_row(figures, "speedup", "speedup", ".2f", "×")}
{_row(figures, "seconds per forward and backward pass of the model", "model_seconds_per_step", ".3f")}
{_row(figures, "overhead of the trainer", "overhead_share", ".1%")}

The model's own passes limit what a trainer can save: if a step did nothing else, it would be
{_max_speedup(figures, figures)}× as fast as the plain loop, or {_max_speedup(figures, figures["fast"])}× in bf16 and compiled.
Images and captions are encoded once, in {figures["cache_seconds"]:.1f} s. Peak memory of the recipe as shipped is
{figures["peak_rss_mb"]:.0f} MB, the size of the adapter {figures["adapter_bytes"] / 2**20:.1f} MiB.
Measured on {_platform(figures)}."""


def _max_speedup(figures: Figures, trainer: Figures) -> str:
    return f"{figures['plain_seconds_per_step'] / trainer['model_seconds_per_step']:.2f}"


def _row(figures: Figures, title: str, name: str, form: str, unit: str = "") -> str:
    return f"| {title} | {figures[name]:{form}}{unit} | {figures['fast'][name]:{form}}{unit} |"


def _busy(figures: Figures | None) -> str:
    title = "## A training step beside another program\n\n    make bench_train"
    if figures is None:
        return f"{title}\n\nNot measured."
    first = figures["rows"][0]
    rows = [
        f"| {row['way']} | {row['alone']:.2f} | {row['busy']:.2f} "
        f"| {row['alone'] / first['alone']:.2f}× | {row['busy'] / first['busy']:.2f}× |"
        for row in figures["rows"]
    ]
    return f"""{title}

A step of the recipe as shipped, in seconds, alone and beside one process that is always busy, by what OpenMP's threads do while
they wait for one another. `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY` change what they do.

| waiting threads | alone | beside a busy process | alone, relative to the first row | busy, relative to the first row |
|---|---|---|---|---|
{chr(10).join(rows)}

Medians over {figures["rounds"]} rounds on {_platform(figures)}."""


def _race(figures: Figures | None) -> str:
    title = "## Beside others\n\n    make bench_race"
    if figures is None:
        return f"{title}\n\nNot measured."
    rows = [
        f"| {row['what']} | {row['peer']} | {row['ratio']:.2f} | {row['low']:.2f} to {row['high']:.2f} "
        f"| {'ahead' if row['high'] < 1 else 'behind' if row['low'] > 1 else 'level'} |"
        for row in figures["rows"]
    ]
    return f"""{title}

Our seconds divided by theirs: below 1 we are ahead. Half of the rounds are between the two last figures; where 1 is between them,
nobody is ahead. Each has {figures["threads"]} threads, computes in fp32, and takes its turn in a process of its own; diffusers in
an environment of its own. Trained is the miniature with LoRA of the same modules and rank, on the same latents and embeddings,
encoded in advance; generated are images of 25 steps with a guidance scale of 5, ours by the server.

| | peer | ratio | half of the rounds | |
|---|---|---|---|---|
{chr(10).join(rows)}

{figures["rounds"]} rounds on {_platform(figures)}, {figures["arithmetic"]["instruction_set"]}."""


def _prepare(figures: Figures | None) -> str:
    title = "## Preparing images\n\n    make bench_prepare"
    if figures is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

| | |
|---|---|
| images | {figures["images"]} JPEGs of {figures["megapixels"]:.0f} megapixels, {figures["raw_bytes"] / 2**30:.1f} GiB |
| time | {figures["seconds"]:.0f} s, {figures["images_per_second"]:.1f} images/s |
| time for half as many images | {figures["seconds_for_half"]:.0f} s |
| peak memory of the process | {figures["peak_rss_mb"]:.0f} MB |
| peak memory of its largest worker | {figures["peak_worker_rss_mb"]:.0f} MB |
| measured on | {_platform(figures)} |"""


def _serve(figures: Figures | None) -> str:
    title = "## The server\n\n    make bench_serve"
    if figures is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

The miniature at {figures["steps"]} steps over HTTP, {figures["rounds"]} rounds. Overhead is the time of a request outside of the
generation itself.

| | measured | required |
|---|---|---|
| overhead of a request | {figures["overhead_ms"]:.1f} ms | under 10 |
| switch to another loaded adapter | {figures["adapter_switch_ms"]:.1f} ms | under 50 |
| change of an adapter's scale | {figures["scale_change_ms"]:.2f} ms | under 1 |
| throughput gain of {figures["clients"]} concurrent over sequential requests | {figures["throughput_gain"]:.2f}× | at least 1.5 |
| from start to the first image | {figures["ready_s"]:.1f} s | |

Measured on {_platform(figures)}."""


def _soak(figures: Figures | None) -> str:
    title = "## Many adapters\n\n    make soak"
    if figures is None:
        return f"{title}\n\nNot measured."
    memory = figures["memory_mb"]
    return f"""{title}

{figures["requests"]} requests with none, one or two of {figures["adapters"]} adapters, of which only a few fit into the adapter
cache at a time. The server takes {memory[0]:.0f} MB after the first request, {max(memory):.0f} MB at most and
{memory[-1]:.0f} MB after the last; from the second quarter to the last it grows by {figures["growth"]:+.1%}.
Measured on {_platform(figures)}."""


def _variants(figures: Figures | None) -> str:
    title = "## Fewer bits\n\n    make bench_variants"
    if figures is None:
        return f"{title}\n\nNot measured."
    tables = [f"`{model['model']}`\n\n{_forms(model['rows'])}" for model in figures["models"]]
    return f"""{title}

Each miniature's denoiser in memory, and {figures["images"]} images in {figures["steps"]} steps, compared with the same in fp32.
The error of predictions is relative to their norm, that of images the mean absolute difference on a scale of 0 to 255. The effect
is how far a random adapter moves predictions, relative to fp32, where it is a tenth of their norm; the angle is the one between
both movements. Time is relative to bf16.
Only layers inside blocks are quantized: 99 % of FLUX.1's denoiser; with convolutions, as `int8wo` and `fp8wo`, 98 % of
SDXL's and 97 % of SD 1.5's, else 85 % and 28 %. GGUF files have all linear layers in few bits. `balanced` is with
what `zthumb calibrate` wrote, from other prompts.

{chr(10).join(tables)}

Measured on {_platform(figures)}."""


def _missing(form: str) -> str:
    return "no factors help" if form.endswith("balanced") else "not on this machine"


def _forms(rows: Sequence[Figures]) -> str:
    lines = [
        f"| {row['form']} | {' | '.join([_missing(row['form'])] + [''] * 5)} |"
        if row["error"] is None
        else f"| {row['form']} | {row['bytes'] / 2**20:.1f} MiB | {row['prediction_error']:.2%} | {row['error']:.2f} "
        f"| {row['effect']:.1%} | {row['angle']:.1f}° | {row['time']:.2f}× |"
        for row in rows
    ]
    columns = ("form", "in memory", "error of predictions", "of images", "adapter's effect", "its angle", "time")
    return "\n".join([f"| {' | '.join(columns)} |", "|---|---:|---:|---:|---:|---:|---:|", *lines, ""])


def _steps(figures: Figures | None) -> str:
    title = "## Fewer predictions\n\n    make bench_steps"
    if figures is None:
        return f"{title}\n\nNot measured."
    ways = [row["way"] for row in figures["models"][0]["rows"]]
    lines = [
        f"| {way} | " + " | ".join(f"{row['error']:.2f} | {row['time']:.2f}×" for row in rows) + " |"
        for way, *rows in zip(ways, *(model["rows"] for model in figures["models"]), strict=True)
    ]
    names = " | ".join(f"`{model['model']}` error | time" for model in figures["models"])
    return f"""{title}

{figures["images"]} images of {figures["steps"]} steps in fp32, by what is left out. The error is the mean absolute difference
from all steps, on a scale of 0 to 255, time relative to them. Images with other guidance differ because they are other images.

| | {names} |
|---{"|---:|---:" * len(figures["models"])}|
{chr(10).join(lines)}

Measured on {_platform(figures)}."""


def _settings(figures: Figures | None) -> str:
    title = "## Settings\n\n    make bench_settings"
    if figures is None:
        return f"{title}\n\nNot measured."
    rows = [
        f"| `{model['model']}` | {row['setting']} | {row['time']:.2f}× | {row['memory'] / 2**20:.1f} MiB | {row['error']:.2f} "
        f"| {row['first_s']:.1f} s |"
        for model in figures["models"]
        for row in model["rows"]
    ]
    return f"""{title}

{figures["images"]} images in {figures["steps"]} steps, compared with the base as it is. Memory is what one image allocates at
most beside the weights, which is where it is decoded; the error is the mean absolute difference of images on a scale of 0 to
255. The first image waits for compiling.

| base | setting | time | memory | error of images | first image |
|---|---|---:|---:|---:|---:|
{chr(10).join(rows)}

Measured on {_platform(figures)}."""


def _pages(figures: Figures | None) -> str:
    title = "## Pages in a browser\n\n    make bench_client"
    if figures is None:
        return f"{title}\n\nNot measured."
    rows = [f"| {row['page']} | {row['first_ms']:.0f} ms | {row['again_ms']:.0f} ms |" for row in figures["rows"]]
    return f"""{title}

The web client in Chromium, with {figures["images"]:,} images in the gallery. A page is there in the frame after its content is;
the first time its code is loaded too. The first paint comes {figures["first_paint_ms"]:.0f} ms after the address is opened, for
which {figures["first_load_bytes"] / 1000:.0f} kB are loaded, compressed.

| page | opened first | opened again |
|---|---:|---:|
{chr(10).join(rows)}

Medians over {figures["rounds"]} rounds on {_platform(figures)}."""


def _gpu(figures: Figures | None) -> str:
    title = "## Full-size SDXL on a GPU\n\n    make bench_gpu"
    columns = (
        "batch size",
        "checkpointing",
        "compiled",
        "images/s",
        "share of the bf16 peak",
        "peak memory",
        "estimated peak memory",
    )
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    if figures is None:
        rows = [
            f"| {batch_size} | {checkpointing} | {compiled} | {' | '.join(['not measured'] * 4)} |"
            for batch_size in (1, 4)
            for checkpointing in ("no", "yes")
            for compiled in ("no", "yes")
        ]
        return f"{title}\n\nRandom weights at 1024².\n\n{head}\n" + "\n".join(rows)
    rows = [
        f"| {row['batch']} | {_yes_no(row['gradient_checkpointing'])} | {_yes_no(row['compile'])} "
        f"| {row['images_per_second']:.2f} | {row['share_of_peak']:.0%} "
        f"| {_gib(row['peak_bytes'])} | {_gib(row['estimated_peak_bytes'])} |"
        for row in figures["rows"]
    ]
    return f"{title}\n\nRandom weights at 1024² on {figures['device']}.\n\n{head}\n" + "\n".join(rows)


def _gpu_serve(figures: Figures | None) -> str:
    title = "## Images of full-size SDXL on a GPU\n\n    make bench_gpu"
    rows = [f"| {program} | not measured | not measured |" for program in ("plain diffusers", "this server")]
    if figures:
        rows = [f"| {row['what']} | {row['images_per_second']:.2f} | {_gib(row['peak_bytes'])} |" for row in figures["rows"]]
    device = f" on {figures['device']}" if figures else ""
    return f"""{title}

Random weights at 1024², 30 steps, bf16{device}. Diffusers generates one image after the other, the server serves eight clients
at once.

| | images/s | peak memory |
|---|---|---|
{chr(10).join(rows)}"""


def _read_figures(path: Path) -> Figures | None:
    if not path.exists():
        return None
    figures: Figures = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _platform(figures: Figures) -> str:
    platform, packages = figures["platform"], figures["packages"]
    return f"{platform['machine']}, {platform['cpus']} CPUs, Python {platform['python']}, torch {packages['torch']}"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main())
