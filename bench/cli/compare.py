"""The verbs ``bench baselines`` and ``bench compare``."""

from __future__ import annotations

import argparse

from bench.cli import expected_code
from bench.cli.arguments import add_device
from bench.support.console import say
from bench.support.errors import BenchError

ACTIONS = {
    "promote": "store the measurements of a suite that was run as its baselines",
    "verify": "say which baselines the present code, options and data would still give",
    "show": "list the stored runs: when, on what, by which commit",
    "diff": "compare the results of a suite with its baselines",
}


def configure_baselines(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench baselines``."""
    parser.add_argument("action", choices=ACTIONS, help="; ".join(f"{k}: {v}" for k, v in ACTIONS.items()))
    parser.add_argument("suite", help="suite of config/suites")
    parser.set_defaults(run=lambda arguments: _ACTIONS[arguments.action](arguments.suite))


def _promote(suite: str) -> None:
    from bench.compare import leaderboard
    from bench.results import baselines
    from bench.suite import plan

    folder = baselines.promote(plan.load(suite))
    leaderboard.write()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    say(f"{folder}: {len(baselines.stored(suite)['runs'])} runs, {size / 2**20:.1f} MiB")


def _verify(suite: str) -> int:
    from bench.results import baselines
    from bench.suite import plan

    found = baselines.status(plan.load(suite))
    stale = {key: word for key, word in found.items() if word != "current"}
    for (run, metric), word in stale.items():
        print(f"{run}\t{metric}\t{word}")
    say(f"{suite}: {len(found) - len(stale)} of {len(found)} measurements are current, {len(stale)} stale")
    return 1 if stale else 0


def _show(suite: str) -> None:
    from bench.results import baselines

    record = baselines.stored(suite)
    for run, made in record["runs"].items():
        place = record["environments"][made["train"]["environment"]]
        device = place["device"] if place["device"] != "cpu" else place["cpu"]
        versions = f"torch {place['versions']['torch']}"
        commit = place["git"]["commit"][:9]
        print(
            f"{run}\t{made['train']['date']}\t{device}\t{versions}\tcommit {commit}\t{', '.join(made['metrics'])}"
        )


def _diff(suite: str) -> None:
    from bench.results import baselines

    print(baselines.difference(suite).to_string(index=False))


_ACTIONS = {"promote": _promote, "verify": _verify, "show": _show, "diff": _diff}


def configure_compare(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench compare``."""
    parser.add_argument("--suite", default="demo", help="suite whose baselines are used (default: demo)")
    expected_code.add_option(parser)
    parser.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    from bench.compare import pages
    from bench.suite import plan
    from bench.suite.fingerprint import fingerprint

    expected_code.check(arguments, fingerprint("bench.compare.pages"))
    suite = plan.load(arguments.suite)
    stem = pages.write(suite)
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


def configure_leaderboard(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench leaderboard``."""
    parser.set_defaults(run=_leaderboard)


def _leaderboard(arguments: argparse.Namespace) -> None:
    from bench.compare import leaderboard

    for file in leaderboard.write():
        say(str(file))


def configure_reproduce(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench reproduce``."""
    parser.add_argument("--suite", default="demo", help="suite with stored baselines (default: demo)")
    parser.add_argument("--sample", type=int, default=5, help="runs, drawn at random (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    add_device(parser)
    parser.set_defaults(run=_reproduce)


def _reproduce(arguments: argparse.Namespace) -> int:
    from bench.jobs import reproduce
    from bench.suite import plan

    if arguments.sample < 1:
        raise BenchError(f"--sample must be at least 1, not {arguments.sample}.")
    suite = plan.load(arguments.suite)
    runs = reproduce.sample(suite, arguments.sample, arguments.seed)
    found = reproduce.reproduce(suite, runs, arguments.device)
    agree = sum(one.agrees for one in found)
    say(
        f"{arguments.suite}: {agree} of {len(found)} runs agree. On the same kind of machine every bit must; elsewhere "
        f"means may differ by {reproduce.DECIBELS} dB, other numbers by {reproduce.RELATIVE:.0%} or {reproduce.SMALL}."
    )
    return int(agree < len(found))


VERBS = {
    "reproduce": configure_reproduce,
    "baselines": configure_baselines,
    "compare": configure_compare,
    "leaderboard": configure_leaderboard,
}
