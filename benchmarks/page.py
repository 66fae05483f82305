"""``python -m benchmarks.page``: the figures in ``docs/benchmarks/*.json`` as ``docs/benchmarks.md``."""

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
    """Write the page anew; exit code 0 done."""
    argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__).parse_args(argv)
    write_text(PAGE, page(FIGURES))
    print(PAGE)
    return DONE


def page(figures: Path) -> str:
    """The page; what was not measured says so."""
    sections = [_train, _busy, _prepare, _serve, _soak, _variants, _gpu, _gpu_serve]
    names = ["train", "busy", "prepare", "serve", "soak", "variants", "gpu", "gpu_serve"]
    read = [_read(figures / f"{name}.json") for name in names]
    texts = [section(found) for section, found in zip(sections, read, strict=True)]
    return "\n\n".join([_HEAD.strip(), *(text.strip() for text in texts)]) + "\n"


_HEAD = """
# Benchmarks

Every figure is written by the command above its table into `outputs/bench/`, copied to `docs/benchmarks/` and put on this page by
`python -m benchmarks.page`. What is compared takes turns within one run, so that what else a machine does falls on each
alike; ratios are medians over the turns.
"""


def _train(found: Figures | None) -> str:
    title = "## A training step\n\n    make bench_train"
    if found is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

The miniature at batch {found["batch"]} on {found["threads"]} threads against a plain loop in the style of the diffusers example,
which encodes images and captions in every step and computes in fp32. Prior preservation is left out: the plain loop has none.

| | recipe as shipped | with `{"` `".join(found["fast"]["settings"])}` |
|---|---|---|
{_row(found, "seconds per step", "seconds_per_step", ".3f")}
| of the plain loop | {found["plain_seconds_per_step"]:.3f} | {found["plain_seconds_per_step"]:.3f} |
{_row(found, "speedup", "speedup", ".2f", "×")}
{_row(found, "of the model's own passes", "model_seconds_per_step", ".3f")}
{_row(found, "overhead around them", "overhead_share", ".1%")}

The model's own passes bound what a trainer can save: with nothing else in a step it would be {_bound(found, found)}× as fast as
the plain loop, or {_bound(found, found["fast"])}× in bf16 and compiled. Images and captions are encoded once, in
{found["cache_seconds"]:.1f} s. Peak memory of the recipe as shipped is {found["peak_rss_mb"]:.0f} MB, the adapter
{found["adapter_bytes"] / 2**20:.1f} MiB. Measured on {_where(found)}."""


def _bound(found: Figures, ours: Figures) -> str:
    return f"{found['plain_seconds_per_step'] / ours['model_seconds_per_step']:.2f}"


def _row(found: Figures, title: str, name: str, form: str, unit: str = "") -> str:
    return f"| {title} | {found[name]:{form}}{unit} | {found['fast'][name]:{form}}{unit} |"


def _busy(found: Figures | None) -> str:
    title = "## A training step beside another program\n\n    make bench_train"
    if found is None:
        return f"{title}\n\nNot measured."
    first = found["rows"][0]
    rows = [
        f"| {row['way']} | {row['alone']:.2f} | {row['busy']:.2f} "
        f"| {row['alone'] / first['alone']:.2f}× | {row['busy'] / first['busy']:.2f}× |"
        for row in found["rows"]
    ]
    return f"""{title}

A step of the recipe as shipped, in seconds, alone and beside one process that never rests, by what OpenMP's threads do while they
wait for one another. `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY` choose another way.

| threads that wait | alone | beside a busy process | alone, of the first | busy, of the first |
|---|---|---|---|---|
{chr(10).join(rows)}

Medians over {found["rounds"]} rounds on {_where(found)}."""


def _prepare(found: Figures | None) -> str:
    title = "## Preparing images\n\n    make bench_prepare"
    if found is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

| | |
|---|---|
| images | {found["images"]} JPEGs of {found["megapixels"]:.0f} megapixels, {found["raw_bytes"] / 2**30:.1f} GiB |
| time | {found["seconds"]:.0f} s, {found["images_per_second"]:.1f} a second |
| half as many | {found["seconds_for_half"]:.0f} s |
| peak memory of the process | {found["peak_rss_mb"]:.0f} MB |
| of its largest worker | {found["peak_worker_rss_mb"]:.0f} MB |
| on | {_where(found)} |"""


def _serve(found: Figures | None) -> str:
    title = "## The server\n\n    make bench_serve"
    if found is None:
        return f"{title}\n\nNot measured."
    return f"""{title}

The miniature at {found["steps"]} steps over HTTP, {found["rounds"]} rounds. Overhead is what a request takes beside the
generating itself.

| | measured | wanted |
|---|---|---|
| overhead of a request | {found["overhead_ms"]:.1f} ms | under 10 |
| change to another adapter that lies ready | {found["adapter_switch_ms"]:.1f} ms | under 50 |
| change of an adapter's scale | {found["scale_change_ms"]:.2f} ms | under 1 |
| {found["clients"]} clients at once against one after the other | {found["throughput_gain"]:.2f}× | at least 1.5 |
| from start to the first image | {found["ready_s"]:.1f} s | |

Measured on {_where(found)}."""


def _soak(found: Figures | None) -> str:
    title = "## Many adapters\n\n    make soak"
    if found is None:
        return f"{title}\n\nNot measured."
    memory = found["memory_mb"]
    return f"""{title}

{found["requests"]} requests with none, one or two of {found["adapters"]} adapters, of which a few find room at a time. The server
takes {memory[0]:.0f} MB after the first request, {max(memory):.0f} MB at most and {memory[-1]:.0f} MB after the last; from
the second quarter to the last it grows by {found["growth"]:+.1%}. Measured on {_where(found)}."""


def _variants(found: Figures | None) -> str:
    title = "## Fewer bits\n\n    make bench_variants"
    if found is None:
        return f"{title}\n\nNot measured."
    rows = [
        f"| {row['form']} | not on this machine | | |"
        if row["error"] is None
        else f"| {row['form']} | {row['bytes'] / 2**20:.1f} MiB | {row['error']:.2f} | {row['time']:.2f}× |"
        for row in found["rows"]
    ]
    return f"""{title}

The miniature's denoiser in memory, and {found["images"]} images in {found["steps"]} steps. The error is the mean absolute
difference from full's images in fp32, of 255; time is relative to full in bf16. Linear weights, which alone are kept in fewer
bits, are 57 % of the miniature's and 87 % of SDXL's.

| form | denoiser in memory | error of an image | time |
|---|---|---|---|
{chr(10).join(rows)}

Measured on {_where(found)}."""


def _gpu(found: Figures | None) -> str:
    title = "## Full-size SDXL on a GPU\n\n    make bench_gpu"
    columns = ("batch", "checkpointing", "compiled", "images/s", "of the bf16 peak", "peak memory", "by estimate")
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    if found is None:
        rows = [
            f"| {batch} | {checkpointing} | {compiled} | {' | '.join(['not measured'] * 4)} |"
            for batch in (1, 4)
            for checkpointing in ("no", "yes")
            for compiled in ("no", "yes")
        ]
        return f"{title}\n\nRandom weights at 1024².\n\n{head}\n" + "\n".join(rows)
    rows = [
        f"| {row['batch']} | {_yes(row['gradient_checkpointing'])} | {_yes(row['compile'])} | {row['images_per_second']:.2f} "
        f"| {row['share_of_peak']:.0%} | {_gib(row['peak_bytes'])} | {_gib(row['estimated_peak_bytes'])} |"
        for row in found["rows"]
    ]
    return f"{title}\n\nRandom weights at 1024² on {found['device']}.\n\n{head}\n" + "\n".join(rows)


def _gpu_serve(found: Figures | None) -> str:
    title = "## Images of full-size SDXL on a GPU\n\n    make bench_gpu"
    lines = [f"| {what} | not measured | not measured |" for what in ("plain diffusers", "this server")]
    if found:
        lines = [f"| {row['what']} | {row['images_per_second']:.2f} | {_gib(row['peak_bytes'])} |" for row in found["rows"]]
    where = f" on {found['device']}" if found else ""
    return f"""{title}

Random weights at 1024², 30 steps, bf16{where}; diffusers one image after the other, the server for eight clients at once.

| | images/s | peak memory |
|---|---|---|
{chr(10).join(lines)}"""


def _read(path: Path) -> Figures | None:
    if not path.exists():
        return None
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    return found


def _where(found: Figures) -> str:
    facts, packages = found["platform"], found["packages"]
    return f"{facts['machine']}, {facts['cpus']} CPUs, Python {facts['python']}, torch {packages['torch']}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main())
