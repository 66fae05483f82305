"""An adapter in, images out: model families, LoRA files, backends and the inference server."""
