"""Whether this machine can compile a denoiser's repeated blocks."""

import os
import shutil

from foundation.errors import BadInput


def check_compiler(device: str) -> None:
    """Raise ``BadInput`` where the needed compiler is missing: C++ where ``device`` is cpu, C on any other device."""
    variable, names = ("CXX", ("g++", "clang++")) if device == "cpu" else ("CC", ("gcc", "clang"))
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names)):
        raise BadInput(f"compile: needs {' or '.join(names)}, and neither is installed. Install one, or turn compile off.")
