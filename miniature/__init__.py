"""The code that made ``models/mini-*``: a small world of drawn shapes, and the models trained on it."""
