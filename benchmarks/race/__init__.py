"""The project beside others, in turns, at equal work: seconds a training step and an image."""
