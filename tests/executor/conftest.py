"""Fixtures of the executor's tests: submitit's local and debug clusters, no Slurm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Callable[..., harness.Workflow]]:
    """Yield a maker of workflows; afterwards every process of theirs is gone."""
    made = []

    def make(steps: int = 3, seconds: float = 0.05, cluster: str = "local") -> harness.Workflow:
        made.append(harness.Workflow(tmp_path, cluster))
        made[-1].write(steps, seconds)
        return made[-1]

    yield make
    for one in made:
        one.end()
