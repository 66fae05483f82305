"""Entry point 5: a served adapter → pictures at every scale, side by side, with figures."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from evaluation import report
from evaluation.client import Client
from evaluation.collect import collect
from evaluation.overview import overview
from evaluation.protocol import VERSION, Protocol, check_trigger_free, read_protocol, samples
from evaluation.results import OVERVIEW, REPORT, RESULTS, SAMPLES, Results, read_results, summarize
from foundation.errors import DONE, StageFailed, command
from foundation.files import whole_folder, write_json, write_text
from foundation.hashing import hash_file, hash_files
from foundation.manifest import Stage

OUT = Path("outputs/lora_eval")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate one adapter through a running server; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    protocol = read_protocol(arguments.prompts)  # 1. what to ask
    check_trigger_free(protocol, arguments.trigger)
    client = Client(arguments.server)  # 2. whom
    served = client.models()
    stage = Stage("evaluate", _inputs(arguments, served), _settings(arguments, protocol))
    target = OUT / arguments.run
    if not arguments.force and stage.is_up_to_date(target):
        print(f"evaluate: {target} is up to date")
    else:
        with whole_folder(target) as folder:
            _evaluate(client, protocol, arguments, served, folder)  # 3. ask, measure, render
            stage.write_manifest(folder, hash_files(folder))
    print(report.headline(read_results(target)))  # 4. say what was found
    print(f"evaluate: {target / REPORT}")
    return DONE


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
    parser.add_argument("--run", required=True, help="the report's name")
    parser.add_argument("--force", action="store_true", help="evaluate again even if nothing has changed")
    return parser


def _inputs(arguments: argparse.Namespace, served: dict[str, str]) -> dict[str, str]:
    inputs = {"base": served["base_sha256"], str(arguments.prompts.name): hash_file(arguments.prompts)}
    adapter = Path(arguments.adapter)
    if adapter.is_file():
        inputs["adapter"] = hash_file(adapter)
    return inputs


def _settings(arguments: argparse.Namespace, protocol: Protocol) -> dict[str, object]:
    return {"adapter": arguments.adapter, "trigger": arguments.trigger, **protocol.model_dump(mode="json")}


def _evaluate(client: Client, protocol: Protocol, arguments: argparse.Namespace, served: dict[str, str], folder: Path) -> None:
    wanted = list(samples(protocol, arguments.trigger))
    found = list(collect(client, protocol, wanted, arguments.adapter, folder))
    answered = [sample for sample in found if sample.status == "ok"]
    if not answered:
        raise StageFailed(f"{arguments.server}: none of {len(wanted)} pictures came back; the first error: {found[0].error}")
    adapter = {"path": arguments.adapter, "sha256": answered[0].adapter_sha256 or ""}
    results = Results(
        protocol_version=VERSION,
        run=arguments.run,
        trigger=arguments.trigger,
        adapter=adapter,
        base={"name": served["base"], "sha256": served["base_sha256"]},
        settings={
            "steps": protocol.steps,
            "guidance scale": protocol.cfg,
            "seeds": list(protocol.seeds),
            "scales": list(protocol.scales),
        },
        asked=len(wanted),
        answered=len(answered),
        scales=summarize(found, protocol.scales),
        samples=tuple(found),
    )
    write_json(folder / RESULTS, results.model_dump(mode="json"))
    write_text(folder / SAMPLES, "".join(json.dumps(sample.model_dump(mode="json")) + "\n" for sample in found))
    overview(results, folder).save(folder / OVERVIEW)
    report.write(results, folder)
