"""What every backend paints with: a pipeline, its schedulers, its adapters."""
