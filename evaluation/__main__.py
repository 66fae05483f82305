"""``python -m evaluation``, and its commands ``check``, ``compare A B`` and ``render RUN``."""

import sys

from evaluation import check, compare, main, render

_COMMANDS = {"check": check.main, "compare": compare.main, "render": render.main}

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _COMMANDS:
        sys.exit(_COMMANDS[arguments[0]](arguments[1:]))
    sys.exit(main.main(arguments))
