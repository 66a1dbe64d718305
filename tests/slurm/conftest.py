"""A real one-node Slurm for the tests of this folder; they are skipped by name where it cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "executor")]

from harness import Workflow  # noqa: E402  (shared with the tests of the local cluster)

# one second between looks, so that a lost job is noticed within the test
OPTIONS = ("--submitit-queue-interval", "1", "--submitit-signal-delay", "40")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start Slurm for the session and yield its folder."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("the one-node Slurm needs root")
    # not under the test folder: munge must be able to enter every folder above its socket
    folder = Path(f"/tmp/bench-slurm-{os.getpid()}")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([HERE / "cluster.sh", "start", folder], check=True, timeout=60)
        yield folder
    finally:
        subprocess.run(["scancel", "-u", "root"], check=False)
        subprocess.run([HERE / "cluster.sh", "stop", folder], check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def workflow(slurm: Path, tmp_path: Path) -> Iterator[Callable[..., Workflow]]:
    """Yield a maker of workflows on the cluster."""
    made = []

    def make(steps: int = 3, seconds: float = 0.05) -> Workflow:
        made.append(Workflow(tmp_path, "slurm", OPTIONS))
        made[-1].write(steps, seconds)
        return made[-1]

    yield make
    for one in made:
        one.end()
