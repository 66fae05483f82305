"""Gates before any figure, figures with intervals over prompts, and the rule that recommends a scale."""
