"""The adapters that the commands work on."""

from tests.zthumb.adapters.conftest import adapter, base, saved

__all__ = ["adapter", "base", "saved"]
