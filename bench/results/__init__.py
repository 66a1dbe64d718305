"""What was measured: the tidy table, stored baselines, statistics. Torch-free."""
