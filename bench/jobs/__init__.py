"""What one job does: open a run, take pieces of a suite, reproduce stored baselines."""
