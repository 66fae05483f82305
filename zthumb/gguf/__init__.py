"""Denoisers in GGUF files: read as they are found in the wild, kept in few bits in memory, written in our own layout."""
