"""Measurements that are not tests: speed and memory of training and serving, side by side with a plain implementation."""
