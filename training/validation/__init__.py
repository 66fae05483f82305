"""Is it getting better? Held-out images, previews, curves, and which checkpoint is exported."""
