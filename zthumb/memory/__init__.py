"""How much memory a base takes and how much there is."""
