"""Concepts by another hand, on which the defaults are tried: what they were not tuned on."""
