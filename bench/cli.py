"""``bench VERB ...``: each rule of the workflow is one such call, which a person could type."""

from __future__ import annotations

import argparse
import importlib
import sys

import bench
from bench.errors import BenchError

# verb -> (module that has VERBS[verb], one line of help); a module is imported only for its own verbs
VERBS = {
    "doctor": ("bench.doctor", "say in one line each what works on this machine, and what to do"),
    "check": (
        "bench.commands",
        "build every model of a suite without memory, check all options, write the plan",
    ),
    "plan": ("bench.overview", "list the runs of a suite and forecast jobs, device-hours and disk"),
    "train": ("bench.commands", "train one run; the same command resumes"),
    "measure": ("bench.metrics.cli", "measure one metric of one run, or all in one process"),
    "samples": ("bench.metrics.cli", "draw the samples that a run's Fréchet distance is taken of"),
    "sample": ("bench.metrics.cli", "draw samples of a run into an array and a picture"),
    "reference": ("bench.metrics.cli", "compute a dataset's reference statistics in a feature space"),
    "classifier": (
        "bench.metrics.cli",
        "train the small classifier whose features are a space for distances",
    ),
    "pieces": (
        "bench.pieces",
        "do the next whole runs of a suite that fit into a time given, without a workflow",
    ),
    "tidy": ("bench.commands", "collect all measurements of a suite into one table"),
    "why": ("bench.commands", "say which code or options changed since a run was trained"),
    "runs": ("bench.overview", "show state, progress and rate of a suite's runs; free state nobody needs"),
    "config": ("bench.commands", "write the JSON schema or the options page"),
    "data": ("bench.data.cli", "build, import, list, show and verify datasets; draw subsets"),
    "models": ("bench.models.cli", "list the model presets; check one, or a file of your own"),
    "baselines": ("bench.compare.cli", "store the measurements of a suite, check and show what is stored"),
    "compare": ("bench.compare.cli", "compare a measured architecture with the stored baselines of a suite"),
    "reproduce": ("bench.compare.cli", "run some stored baselines again and say whether they agree"),
    "leaderboard": ("bench.compare.cli", "write the leaderboard from the stored baselines"),
    "figure": ("bench.report.cli", "draw one figure from stored measurements"),
    "table": ("bench.report.cli", "write one table from stored measurements"),
    "items": ("bench.report.cli", "draw all items of suites from stored measurements"),
    "quality": ("bench.report.cli", "check a suite's measurements: what is impossible, what is undertrained"),
    "claims": ("bench.report.cli", "judge the papers' claims on printed numbers and on a suite's"),
}


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage in front."""

    def error(self, message: str) -> None:
        self.exit(2, f"bench: error: {message}; see `{self.prog} --help`.\n")


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bench", description=bench.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"bench {bench.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (module, help_line) in VERBS.items():
        sub = verbs.add_parser(verb, help=help_line, description=help_line.capitalize() + ".")
        if verb in words[:1]:
            importlib.import_module(module).VERBS[verb](sub)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one verb; return 0, 1 for bad input, 75 for a training that was interrupted and can go on."""
    words = sys.argv[1:] if words is None else words
    arguments = _parser(words).parse_args(words)
    try:
        return arguments.run(arguments) or 0
    except BenchError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
