"""An adapter in, pictures out: model families, LoRA files, backends and the inference server."""
