"""Estimate the memory and time of a run before it starts, and suggest changes if it does not fit."""
