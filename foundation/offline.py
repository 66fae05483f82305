"""Keep third-party libraries quiet and off the network."""

import logging
import os

from foundation.threads import set_thread_wait_policy


def stay_offline() -> None:
    """Forbid hidden downloads and silence the libraries' progress bars and logs, so that the terminal shows only our own.

    Call it after everything that was requested has been downloaded, and before the libraries are imported: they read these
    variables on import. Variables that the user has set stay.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    keep_quiet()


def keep_quiet() -> None:
    """Silence the libraries' progress bars and logs, and set the threads' wait policy. Call it before they are imported."""
    set_thread_wait_policy()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # On every import they warn of kernels that this machine lacks and of each other's deprecated calls.
    for name in ("bitsandbytes", "torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
