"""How ``models/mini-sdxl`` and ``models/mini-clip`` were made: a small world drawn by code, and the models trained on it."""
