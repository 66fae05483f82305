"""A run from its first step to its last: order, batches, steps, checkpoints, and the way back from one."""
