"""What every package stands on: files written whole, hashes and manifests, named seeds, strict configuration, clear errors.

It imports none of the other packages, so each of them may import it.
"""
