"""From images to an adapter: prepare a data set, train a LoRA by a recipe, export it."""
