"""The verbs of a suite: from the plan to the tidy table. Heavy imports stay inside the verbs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import expected_code
from bench.cli.arguments import add_device, add_run, torch_device
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.options import to_dict

if TYPE_CHECKING:
    from torch import nn

    from bench.suite.options import RunSpec


def configure_check(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench check``."""
    parser.add_argument("suite", help="suite of config/suites")
    parser.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> None:
    """Build each (model, image shape) of a suite on the meta device, count its cost, and write ``plan.json``."""
    import torch

    from bench.diffusion.prediction import check_target
    from bench.models.costs import macs, parameters
    from bench.models.registry import build, check_schedule
    from bench.suite import plan

    suite = plan.load(arguments.suite)
    costs: dict[str, dict] = {}
    pairs = {}
    for run in suite.runs.values():
        training = run.training
        key = run.model.name, run.dataset, training.schedule, training.timesteps, training.prediction
        pairs.setdefault(key, run)
    for run in pairs.values():
        row = suite.datasets[run.dataset]
        with torch.device("meta"):
            model = build(run.model, row.resolution, row.channels)
        check_schedule(run.model, model, run.training.schedule, run.training.timesteps)
        check_target(model, run.training, run.model.name)
        if getattr(model, "trains", True):
            _try(model, run, row.resolution, row.channels)
        known = costs.setdefault(run.model.name, {})
        if (image := f"{row.resolution}x{row.resolution}x{row.channels}") not in known:
            count = (
                macs(model, row.resolution, row.channels).total if getattr(model, "trains", True) else None
            )
            known[image] = {"parameters": parameters(model), "macs": count}
    suite.write(costs)
    say(
        f"{arguments.suite}: {len(suite.runs)} runs, {len(pairs)} pairs of model and dataset, all can be built"
    )


def _try(model: nn.Module, run: RunSpec, side: int, channels: int) -> None:
    """Pass one image without memory; raises BenchError where the network cannot take the dataset's images."""
    import torch

    x = torch.zeros(1, channels, side, side, device="meta")
    image, whose = f"{side}x{side}x{channels}", run.model.file or "The network"
    try:
        with torch.no_grad():
            shape = model.eval()(x, torch.zeros(1, dtype=torch.int64, device="meta")).shape
    except Exception as error:
        said = next(iter(str(error).splitlines()), "")
        raise BenchError(
            f"{whose}: the forward pass of {run.model.name} fails for {image} images "
            f"({type(error).__name__}: {said}); mend the file, `bench models check` says more, or choose another dataset "
            f"than {run.dataset}."
        ) from error
    if shape != x.shape:
        raise BenchError(
            f"{whose}: {run.model.name} returns {tuple(shape)} for {image} images, {tuple(x.shape)}; its forward must "
            "return the predicted noise, of the images' own shape."
        )


def configure_train(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench train``."""
    add_run(parser)
    add_device(parser)
    parser.add_argument(
        "--checkpoint", type=Path, help="start from this checkpoint (refused if it is another run's)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=60, help="time between checkpoints (default: 60)"
    )
    parser.add_argument(
        "--stall-seconds",
        type=float,
        default=1800,
        help="end where one step takes longer than this, so that the job is tried again (default: 1800; 0: never)",
    )
    expected_code.add_option(parser)
    parser.set_defaults(run=train)


def train(arguments: argparse.Namespace) -> int:
    """Train one run, or resume it."""
    from bench.suite import plan
    from bench.suite.fingerprint import definitions

    suite = plan.load(arguments.suite)
    spec = suite.run(arguments.name)
    device = torch_device(arguments.device, spec.training.threads)
    from bench.training.train import INTERRUPTED, Interrupted
    from bench.training.train import train as train_run

    code = {
        "fingerprint": suite.code("train", spec.name),
        "definitions": definitions(*plan.entries("train", spec.model)),
    }
    expected_code.check(arguments, code["fingerprint"])
    try:
        train_run(
            spec,
            paths.dataset_folder(spec.dataset),
            paths.subset_file(spec.dataset, spec.shuffle),
            paths.run_folder(spec.suite, spec.name),
            paths.state_root(spec.suite, spec.name),
            device=device,
            code=code,
            checkpoint=arguments.checkpoint,
            checkpoint_seconds=arguments.checkpoint_seconds,
            stall_seconds=arguments.stall_seconds,
        )
    except Interrupted as interrupted:
        say(f"bench: {interrupted}")
        return INTERRUPTED
    return 0


def configure_tidy(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench tidy``."""
    parser.add_argument("suite", help="suite of config/suites")
    expected_code.add_option(parser)
    parser.set_defaults(run=tidy)


def tidy(arguments: argparse.Namespace) -> None:
    """Collect the measurements of a suite's runs into ``tidy.csv``."""
    from bench.results.tidy import combine
    from bench.suite import plan
    from bench.suite.fingerprint import fingerprint

    expected_code.check(arguments, fingerprint("bench.results.tidy"))
    suite = plan.load(arguments.suite)
    files = [
        paths.run_folder(suite.suite, name) / f"{metric}.csv"
        for name in suite.runs
        for metric in (*suite.metrics(name), "cost")
    ]
    combine(files, paths.tidy_file(suite.suite))


def configure_why(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench why``."""
    add_run(parser)
    parser.set_defaults(run=why)


def why(arguments: argparse.Namespace) -> None:
    """Name each option and definition that changed since the run was trained."""
    from bench.suite import plan
    from bench.suite.fingerprint import changes, definitions
    from bench.support.files import read_json

    suite = plan.load(arguments.suite)
    spec = suite.run(arguments.name)
    file = paths.run_folder(spec.suite, spec.name) / "run.json"
    if not file.exists():
        print(f"{spec.name} was never trained.")
        return
    record = read_json(file)
    lines = [
        f"code: {c}"
        for c in changes(record["code"]["definitions"], definitions(*plan.entries("train", spec.model)))
    ]
    lines += _option_changes(record["spec"], json.loads(json.dumps(to_dict(spec))))
    print("\n".join(lines) or f"{spec.name}: nothing changed since it was trained; it would not run again.")


def _option_changes(old: dict, new: dict, prefix: str = "") -> list[str]:
    lines = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += _option_changes(before, after, f"{prefix}{key}.")
        elif before != after and prefix + key != "suite" and not f"{prefix}{key}".startswith("measure"):
            lines.append(f"option: {prefix}{key}: {before} -> {after}")
    return lines


def configure_config(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench config``."""
    parser.add_argument(
        "what", choices=("schema", "options"), help="JSON schema of a suite, or the options page"
    )
    parser.set_defaults(run=show_config)


def show_config(arguments: argparse.Namespace) -> None:
    """Print what is generated from the options."""
    from bench.cli import reference_pages

    print(reference_pages.schema() if arguments.what == "schema" else reference_pages.options_page(), end="")


VERBS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "check": configure_check,
    "train": configure_train,
    "tidy": configure_tidy,
    "why": configure_why,
    "config": configure_config,
}
