"""Entry point 5: adapters → images at every scale → gates, figures, a verdict and the reports that show them."""

import argparse
import contextlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation import references
from evaluation.client import Client
from evaluation.extractors import identify
from evaluation.protocol import VERSION, Protocol, check_trigger_free, read_protocol
from evaluation.references import References
from evaluation.results import OUT, Results, read_results
from evaluation.server import identity, serving
from evaluation.task import Task
from foundation.arguments import run_name
from foundation.config import parse
from foundation.errors import DONE, FAILED, BadInput, command
from foundation.files import atomic_directory, replace_folder
from foundation.hashing import hash_file, hash_files, hash_value
from foundation.manifest import Stage, given
from foundation.offline import stay_offline

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")
PROMPTS = Path(__file__).parent / "prompts"
_PATHS = ("models/", "outputs/", "./", "../", "/", "~")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate adapters through a server; exit code 0 done, 1 failed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    task = _task(arguments)  # 1. what to ask about what
    target = OUT / task.run
    with contextlib.ExitStack() as stack:
        server = _Server(stack, arguments)  # 2. whom, once it is needed
        stage = Stage("evaluate", _inputs(task, arguments, server), _settings(task), command=given("evaluation", argv))
        if not arguments.force and stage.is_up_to_date(target):
            print(f"evaluate: {target} is up to date")
        else:
            _evaluate(task, server.client(), target, stage, arguments)  # 3. ask, measure, judge, render
    results = read_results(target)
    print(f"evaluate: {results.answered} of {results.asked} images; {results.verdict.sentence}")  # 4. say it
    print(f"evaluate: {target / 'report.html'}")
    return DONE if results.answered == results.asked else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Ask a server for the same prompts and seeds at several LoRA scales, hold its answers against gates, "
        "guards and statistics, and write a report with a verdict to outputs/lora_eval/RUN. `python -m evaluation compare A B` "
        "compares two reports, `python -m evaluation render RUN` writes one's pages again.",
    )
    parser.add_argument(
        "--adapter",
        action="append",
        required=True,
        metavar="[NAME=]PATH",
        help="an adapter as lora_path names it to the server; given several times, checkpoints are compared",
    )
    parser.add_argument("--run", type=run_name, required=True, help="the report's name")
    parser.add_argument("--server", help="the address of a server that runs; by default one is started for MODEL")
    parser.add_argument(
        "--model", default="models/mini-sdxl", help="what a server of its own serves, named as MODEL is (default: %(default)s)"
    )
    parser.add_argument("--dataset", type=Path, help="the prepared data set: held-out and training images, and the trigger word")
    parser.add_argument("--references", type=Path, help="a folder of images of the concept, where there is no data set")
    parser.add_argument("--trigger", help="the concept's trigger word (default: the data set's)")
    parser.add_argument("--prompts", type=Path, default=PROMPTS / "mini.yaml", help="the prompts file (default: the miniature's)")
    parser.add_argument("--seeds", type=_several(int), help="instead of the file's, with commas between")
    parser.add_argument("--scales", type=_several(float), help="instead of the file's, with commas between")
    parser.add_argument(
        "--extractor", action="append", metavar="NAME[=WEIGHTS]", help="instead of the file's: what images are compared by"
    )
    parser.add_argument("--in-flight", type=int, default=4, metavar="N", help="requests at once (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="evaluate again even if nothing has changed")
    return parser


def _several(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(kind(part) for part in text.split(","))

    return numbers


def _task(arguments: argparse.Namespace) -> Task:
    if arguments.dataset and arguments.references:
        raise BadInput("--references: give either a data set or a folder of images.")
    known = References()
    if arguments.dataset:
        known = references.of_dataset(arguments.dataset)
    elif arguments.references:
        known = references.of_folder(arguments.references)
    trigger = arguments.trigger or known.trigger
    if not trigger:
        raise BadInput("--trigger: name the concept's trigger word, or a --dataset that does.")
    protocol = _overridden(read_protocol(arguments.prompts, trigger), arguments)
    check_trigger_free(protocol, trigger)
    return Task(arguments.run, protocol, hash_file(arguments.prompts), trigger, known, _named(arguments.adapter))


def _overridden(protocol: Protocol, arguments: argparse.Namespace) -> Protocol:
    given = {"seeds": arguments.seeds, "scales": arguments.scales, "extractors": arguments.extractor}
    values = protocol.model_dump() | {name: tuple(value) for name, value in given.items() if value}
    return parse(Protocol, values, "the command line")


def _named(adapters: Sequence[str]) -> dict[str, str]:
    """Name → path; without a name an adapter is called as its file is."""
    named: dict[str, str] = {}
    for each in adapters:
        found = None if Path(each).exists() else _NAMED.fullmatch(each)
        name, path = (found["name"], found["path"]) if found else (Path(each).stem, each)
        if name in named:
            raise BadInput(f"--adapter {each}: two are called {name!r}; name them, as in NAME={path}.")
        named[name] = path
    return named


class _Server:
    """A server that is begun when it is first asked."""

    def __init__(self, stack: contextlib.ExitStack, arguments: argparse.Namespace) -> None:
        self._stack, self._arguments = stack, arguments
        self._client: Client | None = Client(arguments.server, arguments.in_flight) if arguments.server else None

    def client(self) -> Client:
        """To ask it by."""
        if self._client is None:
            self._client = self._stack.enter_context(serving(self._arguments.model, self._arguments.in_flight))
        return self._client


def _inputs(task: Task, arguments: argparse.Namespace, server: _Server) -> dict[str, str]:
    """What the results depend on. Of a server that runs it is told by the server, else it is read from the files."""
    told = {"prompts": task.prompts_sha256, **{name: str(value) for name, value in task.references.facts().items()}}
    told |= {f"extractor {each}": identify(each).revision for each in task.protocol.extractors}
    if arguments.server:
        client, base = server.client(), server.client().base()
        adapters = {name: client.identify(path, task.protocol.variant) for name, path in task.adapters.items()}
        told |= {"base": base.sha256, "generated on": f"{base.device}, {base.precision}"}
    else:
        adapters = {name: _hash(path, "--adapter") for name, path in task.adapters.items()}
        # What is no path names a model, which the server knows how to find.
        is_path = Path(arguments.model).exists() or arguments.model.startswith(_PATHS)
        told |= {"base": _hash(arguments.model, "--model") if is_path else server.client().base().sha256}
    return {**told, **{f"adapter {name}": digest for name, digest in adapters.items()}}


def _hash(path: str, argument: str) -> str:
    if not Path(path).exists():
        raise BadInput(f"{argument} {path}: nothing is there.")
    return hash_value(identity(Path(path)))


def _settings(task: Task) -> dict[str, object]:
    own = {"version": VERSION, "trigger": task.trigger, "adapters": task.adapters}
    return {**own, **task.protocol.model_dump(mode="json")}


def _evaluate(task: Task, client: Client, target: Path, stage: Stage, arguments: argparse.Namespace) -> None:
    """Collect into a folder that a killed evaluation goes on from, and put it into place when all is there."""
    stay_offline()
    from evaluation.judge import judge
    from evaluation.report import write

    folder = OUT / f".{task.run}.{stage.fingerprint[:12]}"
    if arguments.force:
        shutil.rmtree(folder, ignore_errors=True)
    results: Results = judge(task, client, folder, arguments.in_flight)
    write(results, folder)
    if results.answered == results.asked:
        stage.write_manifest(folder, hash_files(folder))
        replace_folder(folder, target)
        return
    # A report of what there is; without a manifest it counts as unfinished, and the next call asks for the rest.
    with atomic_directory(target) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
