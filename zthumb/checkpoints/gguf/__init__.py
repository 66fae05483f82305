"""Denoisers in GGUF files: read in the layouts of common programs, kept quantized in memory, written in our own layout."""
