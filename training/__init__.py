"""Images in, an adapter out: prepare a data set, train a LoRA from a recipe, export it."""
