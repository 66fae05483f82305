"""Write the images' lock files, ``docker/locks/*.txt``: every package with its version and the hashes of its files.

The versions are those of ``training/requirements.*.txt``; nothing is installed and no package is downloaded in full.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = Path("docker/locks")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu/torch/"
REQUIREMENTS = {"training": "training/requirements.{device}.txt", "server": "docker/server.in"}
DEVICES = ("cpu", "cuda")


def main(argv: Sequence[str] | None = None) -> int:
    """Write all lock files and return the exit code of the first that fails.

    The optional argument is an index or folder of CPU builds of torch.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    wheels = arguments[0] if arguments else CPU_WHEELS
    for image in REQUIREMENTS:
        for device in DEVICES:
            code = subprocess.run(_command(image, device, wheels), cwd=ROOT, env={**os.environ, "UV_NO_CONFIG": "1"}).returncode
            if code:
                return code
            print(f"lock: {LOCKS / f'{image}-{device}.txt'}")
    return 0


def _command(image: str, device: str, wheels: str) -> list[str]:
    find_links = ["--find-links", wheels] if device == "cpu" else []
    return [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", REQUIREMENTS[image].format(device=device)),
        *("--constraint", f"training/requirements.{device}.txt", *find_links),
        # The platform of the images: Debian 12's Python and C library.
        *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:"),
        *("--generate-hashes", "--no-annotate", "--no-emit-find-links", "--upgrade"),
        *("--custom-compile-command", "make lock", "--output-file", str(LOCKS / f"{image}-{device}.txt")),
    ]


if __name__ == "__main__":
    sys.exit(main())
