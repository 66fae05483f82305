"""Whether the blocks that a denoiser repeats can be compiled on this machine."""

import os
import shutil

import torch

from foundation.errors import BadInput


def check_compiler(device: torch.device) -> None:
    """Blocks are compiled by way of C++, or of C for a GPU; ``BadInput`` where there is no compiler for it."""
    variable, names = ("CXX", ("g++", "clang++")) if device.type == "cpu" else ("CC", ("gcc", "clang"))
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names)):
        raise BadInput(f"compile: needs {' or '.join(names)}, and none is there. Install one, or set compile: false.")
