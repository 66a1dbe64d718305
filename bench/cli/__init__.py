"""``bench VERB ...``: each rule of the workflow is one such call, which a person could type."""

from __future__ import annotations

import argparse
import importlib
import sys

import bench
from bench.support.errors import BenchError

# verb -> (module that has VERBS[verb], one line of help); a module is imported only for its own verbs
VERBS = {
    "doctor": ("bench.cli.doctor", "say in one line each what works on this machine, and what to do"),
    "check": (
        "bench.cli.commands",
        "build every model of a suite without memory, check all options, write the plan",
    ),
    "plan": ("bench.cli.overview", "list the runs of a suite and forecast jobs, device-hours and disk"),
    "train": ("bench.cli.commands", "train one run; the same command resumes"),
    "measure": ("bench.cli.measure", "measure one metric of one run, or all in one process"),
    "samples": ("bench.cli.measure", "draw the samples that a run's Fréchet distance is taken of"),
    "sample": ("bench.cli.measure", "draw samples of a run into an array and a picture"),
    "reference": ("bench.cli.measure", "compute a dataset's reference statistics in a feature space"),
    "classifier": (
        "bench.cli.measure",
        "train the small classifier whose features are a space for distances",
    ),
    "pieces": (
        "bench.jobs.pieces",
        "do the next whole runs of a suite that fit into a time given, without a workflow",
    ),
    "tidy": ("bench.cli.commands", "collect all measurements of a suite into one table"),
    "why": ("bench.cli.commands", "say which code or options changed since a run was trained"),
    "runs": (
        "bench.cli.overview",
        "show state, progress and rate of a suite's runs; free state nobody needs",
    ),
    "config": ("bench.cli.commands", "write the JSON schema or the options page"),
    "data": ("bench.cli.data", "build, import, list, show and verify datasets; draw subsets"),
    "models": ("bench.cli.models", "list the model presets; check one, or a file of your own"),
    "baselines": ("bench.cli.compare", "store the measurements of a suite, check and show what is stored"),
    "compare": ("bench.cli.compare", "compare a measured architecture with the stored baselines of a suite"),
    "reproduce": ("bench.cli.compare", "run some stored baselines again and say whether they agree"),
    "leaderboard": ("bench.cli.compare", "write the leaderboard from the stored baselines"),
    "figure": ("bench.cli.report", "draw one figure from stored measurements"),
    "table": ("bench.cli.report", "write one table from stored measurements"),
    "items": ("bench.cli.report", "draw all items of suites from stored measurements"),
    "quality": ("bench.cli.report", "check a suite's measurements: what is impossible, what is undertrained"),
    "claims": ("bench.cli.report", "judge the papers' claims on printed numbers and on a suite's"),
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
