"""Requests to the server, and the images that it answers with."""
