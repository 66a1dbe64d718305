"""A reproducible benchmark of how denoising networks generalize.

``bench.load(run_folder)`` returns a trained model; everything else is reached through the
``bench`` command or the Snakemake workflow.  Importing this package imports neither torch
nor pydantic.
"""

from __future__ import annotations

__version__ = "0.1.0"


def load(run_folder, device: str = "cpu", allow_code: bool = False):
    """Return the trained run in ``run_folder`` (see :class:`bench.jobs.run.Run`): model, options, images.

    The weights are the exponential moving average, in evaluation mode.  A run of a network from a user's own file names
    that file in ``run.json``; it is executed only with ``allow_code``, since the folder may be someone else's.
    Raises BenchError where the folder holds no finished run, or code is not allowed.
    """
    from bench.jobs.run import Run
    from bench.support.errors import BenchError

    run = Run(run_folder, device=device)
    if run.spec.model.file is not None and not allow_code:
        raise BenchError(
            f"{run_folder} holds a network of {run.spec.model.file}; read that file, then allow it to be executed "
            "with bench.load(..., allow_code=True)."
        )
    return run
