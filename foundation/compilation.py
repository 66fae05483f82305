"""Whether the blocks that a denoiser repeats can be compiled on this machine."""

import os
import shutil

from foundation.errors import BadInput


def check_compiler(device: str) -> None:
    """Blocks are compiled by way of C++ where ``device`` is cpu, else of C; ``BadInput`` where there is no compiler for it."""
    variable, names = ("CXX", ("g++", "clang++")) if device == "cpu" else ("CC", ("gcc", "clang"))
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names)):
        raise BadInput(f"compile: needs {' or '.join(names)}, and none is there. Install one, or do without compile.")
