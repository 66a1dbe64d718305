"""Figures and tables: pure functions of the tidy table and the small arrays beside it. Never imports torch."""
