"""Measurements of a finished run: one file for each, which declares it (``declare.py``) and takes it."""
