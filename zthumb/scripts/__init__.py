"""Commands that prepare this machine."""
