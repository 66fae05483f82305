"""The names that a model's tensors have: diffusers', those they were published under, and those of adapter files."""
