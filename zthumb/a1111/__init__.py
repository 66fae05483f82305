"""Formats that AUTOMATIC1111's web UI has made common: its prompt syntax and the parameters in its images."""
