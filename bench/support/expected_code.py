"""The code that was planned is the code that runs: a job may wait for days, and files change meanwhile."""

from __future__ import annotations

import json
import os

from bench.support.errors import BenchError

# Set by the executor plugin: rule, wildcards and params of each job (several of a group) as the submitting Snakemake
# planned them. A Snakemake on the node plans again, with the files of that moment, so its own word is not enough.
VARIABLE = "SUBMITIT_PARAMS"


def submitted(param: str) -> list[str]:
    """Return the values of a rule's param with which this job was submitted; none outside of the executor plugin."""
    jobs = json.loads(os.environ.get(VARIABLE) or "[]")
    return [str(job["params"][param]) for job in jobs if param in job["params"]]


def check(planned: str | None, actual: str) -> None:
    """Raise BenchError where ``actual``, the fingerprint of the code here, is not the one that was planned."""
    for codes in ([planned] if planned else [], submitted("code")):
        if codes and actual not in codes:
            raise BenchError(
                f"The code changed after this job was planned (fingerprint {', '.join(codes)} then, {actual} now): "
                "nothing was run. Start Snakemake again to plan with the code as it is, or restore the previous code."
            )
