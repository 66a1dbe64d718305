"""``bench doctor``: what works on this machine, in one line each, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.data.options import SOURCES, DatasetOptions
from bench.support import paths
from bench.support.errors import BenchError

OLDEST = (3, 11)
DISTRIBUTION = "denoiser-generalization-bench"
SPACE = 2  # GiB that a demo, its state and its logs fit into with ease
WORDS = {True: "ok", False: "MISSING", None: "note"}


class Finding(NamedTuple):
    """``works`` is None for what only some uses need."""

    what: str
    works: bool | None
    text: str


def findings(suite: str) -> Iterator[Finding]:
    """Check everything, in the order in which to fix it."""
    yield python()
    yield packages()
    yield torch_here()
    yield from _safely("device", device)
    yield slurm()
    yield from data(suite)
    yield from _safely("feature weights", lambda: weights(suite))
    yield disk()
    yield git()


def _safely(what: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except ImportError as error:
        yield Finding(what, False, f"cannot be checked without the package {error.name}; install it first.")


def python() -> Finding:
    """Look at the version of Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST:
        return Finding("Python", True, version)
    return Finding("Python", False, f"{version} is too old; install 3.11 or newer and run `make setup`.")


def packages() -> Finding:
    """Compare the installed packages with those that the project requires."""
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "packages", None, f"{DISTRIBUTION} is not installed (`pip install -e .`); run from its folder."
        )
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted if "extra ==" not in line]
    missing = [name for name in names if not _installed(name)]
    if missing:
        return Finding(
            "packages", False, f"{', '.join(missing)} missing; run `make setup` or `pip install -e .`."
        )
    return Finding("packages", True, f"all {len(names)} are installed")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def torch_here() -> Finding:
    """Import torch and multiply two matrices."""
    try:
        import torch

        right = bool((torch.ones(2, 2) @ torch.ones(2, 2) == 2).all())
    except Exception as error:  # a broken build fails in its own ways
        return Finding("torch", False, f"cannot be used ({error}); install it again: `pip install torch`.")
    return Finding("torch", right, f"{torch.__version__}, {torch.get_num_threads()} threads")


def device() -> Finding:
    """Look for a GPU."""
    import torch

    if not torch.cuda.is_available():
        built = "a build without CUDA" if torch.version.cuda is None else "no device or driver"
        return Finding(
            "device",
            None,
            f"no CUDA device ({built}); a CPU is enough for all suites but paper and pilot.",
        )
    name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / 2**30
    bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
    return Finding("device", True, f"{name}, {memory:.0f} GiB, CUDA {torch.version.cuda}, {bf16} bfloat16")


def slurm() -> Finding:
    """Ask Slurm for its version and partitions."""
    if shutil.which("sbatch") is None:
        return Finding(
            "Slurm",
            None,
            "no sbatch here; `--profile slurm` needs a login node, everything else works without it.",
        )
    done = subprocess.run(["sinfo", "-h", "-o", "%P"], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return Finding("Slurm", None, f"sinfo fails ({said}); ask your administrator, or work without Slurm.")
    names = " ".join(done.stdout.split()) or "none"
    return Finding("Slurm", True, f"partitions: {names}; set yours in slurm/config.yaml")


def data(suite: str) -> Iterator[Finding]:
    """Look for each dataset of a suite: built, or buildable from what is here."""
    from bench.data.build import sources_folder
    from bench.data.missing import state_of
    from bench.suite import plan

    try:
        rows = plan.load(suite).datasets
    except BenchError as error:
        yield Finding("suite", False, str(error))
        return
    for name, row in rows.items():
        yield Finding(
            f"data {name}",
            _can_be_had(name, row, sources_folder()),
            "; ".join(state_of(name, row, sources_folder())),
        )


def _can_be_had(name: str, row: DatasetOptions, sources: Path) -> bool:
    """Whether a dataset is built, or can be built from what is here."""
    if (paths.dataset_folder(name) / "manifest.json").exists() or row.base or row.family:
        return True
    return all((sources / given).exists() for key in SOURCES if (given := getattr(row, key)))


def weights(suite: str) -> Finding:
    """Look for the weights of the feature network that FID needs, path and sha256."""
    from bench.metrics.numerics.features import inception_state
    from bench.suite import plan
    from bench.suite.options import METRICS

    here, text = inception_state()
    try:
        runs = list(plan.load(suite).runs.values())
    except BenchError:
        runs = []
    asked = (getattr(run.measure, name) for run in runs for name in METRICS)
    needed = any(getattr(options, "features", None) == "inception" for options in asked)
    return Finding("feature weights", here if needed or here else None, text)


def disk() -> Finding:
    """Look at the space below results/ and .runs/."""
    folder = paths.RESULTS if paths.RESULTS.exists() else Path()
    free = shutil.disk_usage(folder).free / 2**30
    here = f"GiB free in {folder.resolve()}"
    if free < SPACE:
        how = "free some space, for instance with `bench runs clean`."
        return Finding("disk", False, f"{free:.1f} {here}; {how}")
    return Finding(
        "disk", True, f"{free:.0f} {here}; `bench plan --suite SUITE` forecasts what a suite needs"
    )


def git() -> Finding:
    """Look whether the code is committed: stored baselines need it."""
    from bench.support.provenance import environment

    found = environment()["git"]
    if found["commit"] is None:
        return Finding(
            "git", None, "no repository; runs work, but `bench baselines promote` needs committed code."
        )
    if found["dirty"]:
        return Finding(
            "git", None, "bench/ has uncommitted changes; commit them before a suite that you will promote."
        )
    return Finding("git", True, f"commit {found['commit'][:9]}, bench/ is unchanged")
