"""A new architecture against the stored baselines: storing, comparing, ranking, running again."""
