"""A reproducible benchmark of how denoising networks generalize.

``bench.load(run_folder)`` returns a trained model; everything else is reached through the
``bench`` command or the Snakemake workflow.  Importing this package imports neither torch
nor pydantic.
"""

from __future__ import annotations

__version__ = "0.1.0"


def load(run_folder, device: str = "cpu"):
    """Return the trained run in ``run_folder`` (see :class:`bench.jobs.run.Run`): model, options, images.

    The weights are the exponential moving average, in evaluation mode.
    """
    from bench.jobs.run import Run

    return Run(run_folder, device=device)
