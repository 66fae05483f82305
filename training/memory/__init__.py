"""What a run needs, told before it begins, and what to change where that is too much."""
