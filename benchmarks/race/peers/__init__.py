"""What the peers run, each in an environment of its own: nothing of this project is imported there."""
