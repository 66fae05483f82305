"""The libraries below kept quiet and off the network."""

import logging
import os

from foundation.threads import choose_waiting


def stay_offline() -> None:
    """Fetch nothing behind anyone's back, and leave the terminal to our own bars and lines.

    To be called after whatever was named has been fetched, and before those libraries are imported: they read these variables
    when they are. What the user has set stays.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    keep_quiet()


def keep_quiet() -> None:
    """Leave the terminal to our own bars and lines, and the processor to others too. To be called before they are imported."""
    choose_waiting()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # They tell, each time they are imported, of kernels that this machine lacks, and of each other's ageing ways.
    for name in ("bitsandbytes", "torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
