"""Training runs and evaluations that the server starts as processes of their own, and the data sets that they are given."""
