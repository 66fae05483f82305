"""How much memory a base needs and how much is free."""
