"""Diffusion processes and sampling: what is true of every model family that shares a process."""
