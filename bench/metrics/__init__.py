"""Measurements of a finished run: one file per metric, each with ``measure(run, options)``."""
