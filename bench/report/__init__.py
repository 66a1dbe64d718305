"""Figures and tables: pure functions of the tidy table and the small arrays beside it. Never imports torch."""

import os

# Matplotlib reads this when it is first imported; what a shell or a notebook has set there may not even exist here.
os.environ["MPLBACKEND"] = "agg"
