"""Requests that wait, and the generator thread's backends."""
