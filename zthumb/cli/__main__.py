"""``python -m zthumb.cli``: the ``zthumb`` command."""

import sys

from zthumb.cli import main

if __name__ == "__main__":
    sys.exit(main())
