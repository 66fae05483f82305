"""Is it getting better? Held-out pictures, previews, curves, and which checkpoint is exported."""
