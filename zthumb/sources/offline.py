"""The libraries below kept quiet and off the network."""

import logging
import os


def stay_offline() -> None:
    """Fetch nothing behind anyone's back, and leave the terminal to our own bars and lines.

    To be called before those libraries are imported: they read these variables when they are. What the user has set stays.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # It tells, each time it is imported, of a kernel that it could have fetched.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
