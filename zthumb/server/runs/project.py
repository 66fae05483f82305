"""The checkout of this project whose stages are run: what is where in it, and its commands."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import BadInput, StageFailed
from zthumb.server.settings import Settings, variables

_SCRIPT = Path("scripts/finetune_z.sh")
_OF_THE_SCRIPT = ("FORCE", "SET", "TRIGGER", "SKIP_BAD", "ALLOW_MISSING_CAPTIONS")
_KEPT = ("download_folder", "hf_token", "civitai_api_key")
"""Settings of the server that are true of its machine as well, and so of what it starts."""

_ANSWER_S, _AT_ONCE = 300.0, 2


class Project:
    """A checkout with the training and the evaluation, in which runs are started with this server's own Python."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        # Each answer is a process, which loads what it needs anew.
        self._answering = threading.BoundedSemaphore(_AT_ONCE)
        if not (self.root / _SCRIPT).is_file():
            raise BadInput(f"ZTHUMB_TRAINING={root}: there is no {_SCRIPT} in it. Give the folder of a checkout of this project.")

    @property
    def datasets(self) -> Path:
        """The folder of data sets, one folder each."""
        return self.root / "datasets"

    @property
    def recipes(self) -> Path:
        """The folder of recipes, one file each."""
        return self.root / "training" / "recipes"

    @property
    def prompts(self) -> Path:
        """The folder of the evaluation's prompts, one file each."""
        return self.root / "evaluation" / "prompts"

    def sets_of_prompts(self) -> list[str]:
        """Return the names of the evaluation's sets of prompts."""
        return sorted(path.stem for path in self.prompts.glob("*.yaml"))

    def outputs(self, run: str) -> Path:
        """The folder that the training of ``run`` writes to."""
        return self.root / "outputs" / "lora" / run

    @property
    def reports(self) -> Path:
        """The folder of the evaluation's reports, one folder each."""
        return self.root / "outputs" / "lora_eval"

    def training(self) -> list[str]:
        """The command that makes an adapter and its report; what of is said by its environment, as for ``make finetune_z``."""
        return ["bash", str(_SCRIPT)]

    def module(self, *arguments: str) -> list[str]:
        """The command that runs a module of the project."""
        return [sys.executable, "-m", *arguments]

    def made_by(self, run: str) -> str:
        """Return in words what a run called ``run`` has left in the project; empty if there is nothing."""
        folders = {
            "a training": self.outputs(run),
            "an adapter": self.root / "models" / "lora" / run,
            "a report": self.reports / run,
        }
        return next((name for name, folder in folders.items() if folder.exists()), "")

    def environment(self, **values: str) -> dict[str, str]:
        """Return this process's environment without this server's settings, and with ``values``."""
        of_the_server = {variable for name in Settings.model_fields if name not in _KEPT for variable in variables(name)}
        inherited = {
            name: value for name, value in os.environ.items() if name.upper() not in of_the_server and name not in _OF_THE_SCRIPT
        }
        # The stages of this checkout and not of another that is installed.
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH")]))
        return {**inherited, "PYTHON": sys.executable, "PYTHONPATH": path, "RUNNER": "local", **values}

    def answer(self, module: str, arguments: Sequence[str]) -> str:
        """Return what a module prints; raises ``BadInput`` with its own message if it refuses its arguments."""
        try:
            with self._answering:
                done = subprocess.run(
                    self.module(module, *arguments),
                    cwd=self.root,
                    env=self.environment(),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_ANSWER_S,
                    stdin=subprocess.DEVNULL,
                )
        except subprocess.TimeoutExpired:
            raise StageFailed(f"{module} did not answer within {_ANSWER_S:.0f} s.") from None
        if done.returncode == 0:
            return done.stdout
        message = _last_message(done.stderr) or f"{module} ended with code {done.returncode}"
        raise BadInput(message) if done.returncode == 2 else StageFailed(message)


def _last_message(text: str) -> str:
    """Return what a command said in the end: from the line that begins with ``error:`` or ``failed:`` on."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    begins = [index for index, line in enumerate(lines) if line.startswith(("error: ", "failed: "))]
    if not begins:
        return lines[-1] if lines else ""
    return "\n".join(lines[begins[-1] :]).partition(": ")[2]
