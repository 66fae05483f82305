"""Entry point 5: adapters → images at every scale → gates, figures, a verdict and the reports that show them."""

import argparse
import contextlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation.collection.client import Client
from evaluation.collection.local_server import hash_model, serve
from evaluation.features.concept_images import References, references_from_dataset, references_from_folder
from evaluation.features.extractors import identify
from evaluation.protocol.plan import VERSION, Protocol, check_trigger_free, read_protocol
from evaluation.results import OUT, Results, read_results
from evaluation.task import Task
from foundation.arguments import run_name
from foundation.config import parse
from foundation.errors import DONE, FAILED, BadInput, command
from foundation.files import atomic_directory, replace_folder
from foundation.hashing import hash_file, hash_files, hash_value
from foundation.manifest import Stage, command_line
from foundation.offline import stay_offline

_NAMED_ADAPTER = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")
PROMPTS = Path(__file__).parent / "prompts"
_PATH_PREFIXES = ("models/", "outputs/", "./", "../", "/", "~")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate adapters through a server; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    task = _make_task(arguments)  # 1. what to evaluate
    target = OUT / task.run
    with contextlib.ExitStack() as stack:
        server = _Server(stack, arguments)  # 2. the server, started only if it is needed
        stage = Stage("evaluate", _inputs(task, arguments, server), _settings(task), command=command_line("evaluation", argv))
        if not arguments.force and stage.is_up_to_date(target):
            print(f"evaluate: {target} is up to date")
        else:
            _evaluate(task, server.client(), target, stage, arguments)  # 3. generate, measure, judge, render
    results = read_results(target)
    print(f"evaluate: {results.generated} of {results.requested} images; {results.verdict.sentence}")  # 4. report
    print(f"evaluate: {target / 'report.html'}")
    return DONE if results.generated == results.requested else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Generate images for the same prompts and seeds at several LoRA scales through a server, check them with "
        "gates, guards and statistics, and write a report with a verdict to outputs/lora_eval/RUN. "
        "`python -m evaluation check` reports in advance what is missing, `python -m evaluation compare A B` compares two "
        "reports, `python -m evaluation render RUN` renders the pages of a report again.",
    )
    parser.add_argument(
        "--adapter",
        action="append",
        required=True,
        metavar="[NAME=]PATH",
        help="an adapter, by the path that the server takes as lora_path; give it several times to compare checkpoints",
    )
    parser.add_argument("--run", type=run_name, required=True, help="the report's name")
    parser.add_argument("--server", help="the address of a running server; by default one is started for MODEL")
    parser.add_argument(
        "--model",
        default="models/mini-sdxl",
        help="the model for a server that is started here, as in the server's --model (default: %(default)s)",
    )
    parser.add_argument("--dataset", type=Path, help="the prepared data set: held-out and training images, and the trigger word")
    parser.add_argument("--references", type=Path, help="a folder of images of the concept, if there is no data set")
    parser.add_argument("--trigger", help="the concept's trigger word (default: the data set's)")
    parser.add_argument(
        "--prompts",
        type=Path,
        default=PROMPTS / "mini.yaml",
        help="the prompts file (default: evaluation/prompts/mini.yaml; for real models evaluation/prompts/sdxl.yaml)",
    )
    parser.add_argument("--seeds", type=_comma_separated(int), help="seeds instead of the file's, separated by commas")
    parser.add_argument("--scales", type=_comma_separated(float), help="scales instead of the file's, separated by commas")
    parser.add_argument(
        "--extractor",
        action="append",
        metavar="NAME[=WEIGHTS]",
        help="a feature extractor to compare images with, instead of the file's; may be given several times",
    )
    parser.add_argument(
        "--in-flight", type=int, default=4, metavar="N", help="number of requests sent at the same time (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="evaluate again even if nothing has changed")
    return parser


def _comma_separated(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    def numbers(text: str) -> tuple[float, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, separated by commas") from None

    return numbers


def _make_task(arguments: argparse.Namespace) -> Task:
    if arguments.dataset and arguments.references:
        raise BadInput("--references: cannot be combined with --dataset; give one of the two.")
    references = References()
    if arguments.dataset:
        references = references_from_dataset(arguments.dataset)
    elif arguments.references:
        references = references_from_folder(arguments.references)
    trigger = arguments.trigger or references.trigger
    if not trigger:
        raise BadInput("--trigger: give the concept's trigger word, or a --dataset that defines it.")
    protocol = _override(read_protocol(arguments.prompts, trigger), arguments)
    check_trigger_free(protocol, trigger)
    return Task(arguments.run, protocol, hash_file(arguments.prompts), trigger, references, _name_adapters(arguments.adapter))


def _override(protocol: Protocol, arguments: argparse.Namespace) -> Protocol:
    """Replace the protocol's values that are given on the command line."""
    overrides = {"seeds": arguments.seeds, "scales": arguments.scales, "extractors": arguments.extractor}
    values = protocol.model_dump() | {name: tuple(value) for name, value in overrides.items() if value}
    return parse(Protocol, values, "the command line")


def _name_adapters(adapters: Sequence[str]) -> dict[str, str]:
    """Return name → path; an adapter without a name is named after its file."""
    paths: dict[str, str] = {}
    for adapter in adapters:
        match = None if Path(adapter).exists() else _NAMED_ADAPTER.fullmatch(adapter)
        name, path = (match["name"], match["path"]) if match else (Path(adapter).stem, adapter)
        if name in paths:
            raise BadInput(f"--adapter {adapter}: two adapters are named {name!r}; give one another name, as in NAME={path}.")
        paths[name] = path
    return paths


class _Server:
    """The server of an evaluation; unless one is already running, it is started when its client is first needed."""

    def __init__(self, stack: contextlib.ExitStack, arguments: argparse.Namespace) -> None:
        self._stack, self._arguments = stack, arguments
        self._client: Client | None = Client(arguments.server, arguments.in_flight) if arguments.server else None

    def client(self) -> Client:
        """Return a client of the server, and start the server if necessary."""
        if self._client is None:
            self._client = self._stack.enter_context(serve(self._arguments.model, self._arguments.in_flight))
        return self._client


def _inputs(task: Task, arguments: argparse.Namespace, server: _Server) -> dict[str, str]:
    """Return the inputs of the results, by name. A running server reports its own; otherwise they are hashed from the files."""
    inputs = {"prompts": task.prompts_sha256, **{name: str(value) for name, value in task.references.summary().items()}}
    inputs |= {f"extractor {spec}": identify(spec).revision for spec in task.protocol.extractors}
    if arguments.server:
        client, base = server.client(), server.client().served_model()
        adapters = {name: client.identify(path, task.protocol.variant) for name, path in task.adapters.items()}
        inputs |= {"base": base.sha256, "generated on": f"{base.device}, {base.precision}"}
    else:
        adapters = {name: _hash(path, "--adapter") for name, path in task.adapters.items()}
        # Anything else is the name of a model, which only the server can resolve.
        is_path = Path(arguments.model).exists() or arguments.model.startswith(_PATH_PREFIXES)
        inputs |= {"base": _hash(arguments.model, "--model") if is_path else server.client().served_model().sha256}
    return {**inputs, **{f"adapter {name}": digest for name, digest in adapters.items()}}


def _hash(path: str, argument: str) -> str:
    if not Path(path).exists():
        raise BadInput(f"{argument} {path}: no such file or folder.")
    return hash_value(hash_model(Path(path)))


def _settings(task: Task) -> dict[str, object]:
    settings = {"version": VERSION, "trigger": task.trigger, "adapters": task.adapters}
    return {**settings, **task.protocol.model_dump(mode="json")}


def _evaluate(task: Task, client: Client, target: Path, stage: Stage, arguments: argparse.Namespace) -> None:
    """Evaluate into a folder that a later call can resume, and move it to ``target`` when it is complete."""
    stay_offline()
    from evaluation.judge import evaluate
    from evaluation.report import write_reports

    folder = OUT / f".{task.run}.{stage.fingerprint[:12]}"
    if arguments.force:
        shutil.rmtree(folder, ignore_errors=True)
    results: Results = evaluate(task, client, folder, arguments.in_flight)
    write_reports(results, folder)
    if results.generated == results.requested:
        stage.write_manifest(folder, hash_files(folder))
        replace_folder(folder, target)
        return
    # A report of the images that exist. Without a manifest it is unfinished, and the next call requests the missing ones.
    with atomic_directory(target) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
