"""LoRA files: read, check, convert, apply, remove."""
