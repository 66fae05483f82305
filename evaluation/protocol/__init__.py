"""What is asked of the server: prompts, seeds and scales, and the samples that the gates need."""
