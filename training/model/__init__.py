"""What is trained and how: the base with the adapter on it, the objective, the optimizer."""
