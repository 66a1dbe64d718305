"""The code that was planned is the code that runs: a job may wait for days, and files change meanwhile."""

from __future__ import annotations

import argparse
import os

from bench.support.errors import BenchError

# Set by the executor plugin from the plan of the submitting Snakemake; comma-separated for a group of jobs.
# The Snakemake on the node plans again, with the files of that moment, so its own word is not enough.
VARIABLE = "SUBMITIT_PLANNED_CODE"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--expect-code`` to a verb that a rule with ``params: code`` calls."""
    parser.add_argument(
        "--expect-code", metavar="HASH", help="stop unless the code that would run has this fingerprint"
    )


def check(arguments: argparse.Namespace, actual: str) -> None:
    """Raise BenchError where ``actual``, the fingerprint of the code here, is not the one that was planned."""
    submitted = [code for code in os.environ.get(VARIABLE, "").split(",") if code]
    for planned in ([arguments.expect_code] if arguments.expect_code else [], submitted):
        if planned and actual not in planned:
            raise BenchError(
                f"The code changed after this job was planned (fingerprint {', '.join(planned)} then, {actual} now): "
                "nothing was run. Start Snakemake again to plan with the code as it is, or put the old code back."
            )
