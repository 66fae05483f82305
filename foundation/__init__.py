"""What every package builds on: atomic file writes, hashes and manifests, named seeds, strict configuration, clear errors.

It imports none of the other packages, so each of them may import it.
"""
