"""What every backend generates with: a pipeline, its schedulers, its adapters."""
