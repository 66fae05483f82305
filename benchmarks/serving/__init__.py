"""How fast the server is."""
