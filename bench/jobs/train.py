"""Train a run of a plan, with the plan's options, code and files."""

from __future__ import annotations

from typing import Any

from bench.suite.plan import Plan, entries, is_adopted
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.fingerprint import definitions
from bench.training import train as training


def train(suite: Plan, name: str, device: str, **more: Any) -> None:
    """Train or resume a run; ``more`` goes to :func:`bench.training.train.train`, with what it raises.

    Raises BenchError for an adopted network.
    """
    spec = suite.run(name)
    if is_adopted(suite.suite):
        measure = f"`bench measure all {name} --suite {suite.suite}`"
        raise BenchError(f"{name} was trained elsewhere and is not trained again; {measure} measures it.")
    training.train(
        spec,
        paths.dataset_folder(spec.dataset),
        paths.subset_file(spec.dataset, spec.shuffle),
        paths.run_folder(suite.suite, name),
        paths.state_root(suite.suite, name),
        device=device,
        code={
            "fingerprint": suite.code("train", name),
            "definitions": definitions(*entries("train", spec.model)),
        },
        **more,
    )
