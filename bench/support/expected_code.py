"""The code that was planned is the code that runs: a job may wait for days, and files change meanwhile."""

from __future__ import annotations

import os

from bench.support.errors import BenchError

# Set by the executor plugin from the plan of the submitting Snakemake; comma-separated for a group of jobs.
# The Snakemake on the node plans again, with the files of that moment, so its own word is not enough.
VARIABLE = "SUBMITIT_PLANNED_CODE"


def check(planned: str | None, actual: str) -> None:
    """Raise BenchError where ``actual``, the fingerprint of the code here, is not the one that was planned."""
    submitted = [code for code in os.environ.get(VARIABLE, "").split(",") if code]
    for codes in ([planned] if planned else [], submitted):
        if codes and actual not in codes:
            raise BenchError(
                f"The code changed after this job was planned (fingerprint {', '.join(codes)} then, {actual} now): "
                "nothing was run. Start Snakemake again to plan with the code as it is, or restore the previous code."
            )
