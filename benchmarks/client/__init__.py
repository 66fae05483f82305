"""Benchmarks of the web client, in a browser on a real server."""
