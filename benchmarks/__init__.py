"""What is measured and not tested: how fast and how large training and serving are, side by side with a plain way."""
