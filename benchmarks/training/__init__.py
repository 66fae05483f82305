"""Benchmarks of training: never part of a test, always side by side within one run."""
