"""Evaluate LoRA adapters: images in, a verdict out. It knows the server only through its HTTP API."""
