"""The grammar of prompts that AUTOMATIC1111's web UI has made common: weights, changes from step to step, adapters."""
