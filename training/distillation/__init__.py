"""A small text encoder in the place of a large one."""
