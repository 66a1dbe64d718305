"""Noise schedules, the training objective and samplers. Nothing here knows an architecture."""
