"""Training: the loop, its checkpoints, its declared outputs. Knows no architecture by name."""
