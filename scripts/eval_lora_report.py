"""Evaluate one adapter on a running server and write its report; see ``--help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.main import main

if __name__ == "__main__":
    sys.exit(main())
