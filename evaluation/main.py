"""Entry point 5: a served adapter → pictures at every scale, side by side, with figures."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from evaluation import report
from evaluation.client import Client, Subject
from evaluation.collect import collect
from evaluation.overview import overview
from evaluation.protocol import VERSION, Protocol, check_trigger_free, read_protocol, samples
from evaluation.results import OVERVIEW, REPORT, RESULTS, Results, read_results, summarize
from foundation.arguments import run_name
from foundation.errors import DONE, FAILED, command
from foundation.files import replace_folder, whole_folder, write_json
from foundation.hashing import hash_file, hash_files
from foundation.manifest import Stage

OUT = Path("outputs/lora_eval")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate one adapter through a running server; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    protocol = read_protocol(arguments.prompts)  # 1. what to ask
    check_trigger_free(protocol, arguments.trigger)
    client = Client(arguments.server)  # 2. whom, about what
    subject = client.identify(arguments.adapter)
    stage = Stage("evaluate", _inputs(arguments, subject), _settings(arguments, protocol))
    target = OUT / arguments.run
    if not arguments.force and stage.is_up_to_date(target):
        print(f"evaluate: {target} is up to date")
    else:
        _evaluate(client, protocol, arguments, subject, stage)  # 3. ask, measure, render
    results = read_results(target)
    print(report.headline(results))  # 4. say what was found
    print(f"evaluate: {target / REPORT}")
    return DONE if results.answered == results.asked else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python scripts/eval_lora_report.py",
        description="Ask a running server for the same prompts and seeds at several LoRA scales and write a report with the "
        "pictures side by side to outputs/lora_eval/RUN.",
    )
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="the server's address (default: %(default)s)")
    parser.add_argument(
        "--adapter", required=True, help="the adapter as lora_path names it to the server, or as a path under models/"
    )
    parser.add_argument("--trigger", required=True, help="the concept's trigger word")
    parser.add_argument(
        "--prompts",
        type=Path,
        default=Path(__file__).parent / "prompts" / "mini.yaml",
        help="the prompts file (default: the miniature's)",
    )
    parser.add_argument("--run", type=run_name, required=True, help="the report's name")
    parser.add_argument("--force", action="store_true", help="evaluate again even if nothing has changed")
    return parser


def _inputs(arguments: argparse.Namespace, subject: Subject) -> dict[str, str]:
    return {"base": subject.base_sha256, "adapter": subject.adapter_sha256, "prompts": hash_file(arguments.prompts)}


def _settings(arguments: argparse.Namespace, protocol: Protocol) -> dict[str, object]:
    return {"adapter": arguments.adapter, "trigger": arguments.trigger, **protocol.model_dump(mode="json")}


def _evaluate(client: Client, protocol: Protocol, arguments: argparse.Namespace, subject: Subject, stage: Stage) -> None:
    """Collect into a folder that a killed evaluation goes on from, and put it into place when all is there."""
    wanted = list(samples(protocol, arguments.trigger))
    folder = OUT / f".{arguments.run}.{stage.fingerprint[:12]}"
    if arguments.force:
        shutil.rmtree(folder, ignore_errors=True)
    found = collect(client, protocol, wanted, arguments.adapter, folder)
    answered = sum(sample.status == "ok" for sample in found)
    results = Results(
        protocol_version=VERSION,
        run=arguments.run,
        trigger=arguments.trigger,
        adapter={"path": arguments.adapter, "sha256": subject.adapter_sha256},
        base={"name": subject.base, "sha256": subject.base_sha256},
        settings={
            "steps": protocol.steps,
            "guidance scale": protocol.cfg,
            "seeds": list(protocol.seeds),
            "scales": list(protocol.scales),
        },
        asked=len(wanted),
        answered=answered,
        scales=summarize(found, protocol.scales),
        samples=tuple(found),
    )
    write_json(folder / RESULTS, results.model_dump(mode="json"))
    overview(results, folder).save(folder / OVERVIEW)
    report.write(results, folder)
    if answered == len(wanted):
        stage.write_manifest(folder, hash_files(folder))
        replace_folder(folder, OUT / arguments.run)
        return
    # A report of what there is; without a manifest it counts as unfinished, and the next call asks for the rest.
    with whole_folder(OUT / arguments.run) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
