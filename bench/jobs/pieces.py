"""A suite in pieces: the next whole runs that fit into a time given, trained and measured without a workflow manager.

For a large GPU that is lent for minutes: one call takes runs, leaves small result files and stops by itself; called
again, here or elsewhere with those files in place, it continues with what is missing.  A run whose stored baselines are
current counts as finished.  It reads the plan that ``bench check`` wrote.  Each run is trained and measured by the
functions that the workflow's rules call, so the pieces are the workflow's results.  ``python -m bench.jobs.pieces`` is
``bench pieces`` for machines that have torch, numpy, scipy, pandas, pyyaml and safetensors alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.jobs.measure import measure
from bench.results import records
from bench.results.baselines import SAMPLES
from bench.results.staleness import status
from bench.suite.plan import Plan, read
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.console import say
from bench.support.devices import torch_device
from bench.support.errors import BenchError
from bench.support.files import read_json, write_json
from bench.support.matrix_rate import matrix_rate

RECORD = "piece.json"
OTHER_MODELS = 1.5  # an estimate from other networks' times is multiplied by this


@dataclass
class Session:
    """One call: the suite, until when, on which device, and what it did."""

    suite: Plan
    deadline: float  # time.time(), which other processes share
    device: str
    small: Path | None = None
    side_by_side: int = 1
    rates: dict[str, float] = field(default_factory=dict)  # matrix rate by precision
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: bool = False  # at the end of the time, inside a run

    @cached_property
    def stored(self) -> set[str]:
        """Runs whose stored baselines are complete and current: finished in an earlier piece, elsewhere."""
        if not (paths.baselines_folder(self.suite.suite) / "provenance.json").exists():
            return set()
        current = {key for key, why in status(self.suite).items() if not why}
        return {run for run in self.suite.runs if {(run, m) for m in self.suite.metrics(run)} <= current}

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.time()

    def work(self) -> None:
        """Do runs until the time is used, or nothing is left that this process could do."""
        while not self.stopped and (run := self.next_run()) is not None:
            with _claim(self.suite.suite, run) as mine:
                if not mine or not lacking(self.suite, run):
                    continue  # another process has it, or had it meanwhile
                try:
                    self.stopped = not self._do(run)
                except BenchError as error:
                    say(f"bench: error: {error}")
                    self.failed.append(run)

    def next_run(self) -> str | None:
        """Return the first missing run that fits into the time left.

        Where nothing was done yet and none fits, the first: its training stops at the end of the time, saved.
        """
        if self.left <= 0:
            return None
        free = [r for r in self.suite.runs if self._free(r)]
        fitting = (r for r in free if (seconds := estimate(self.suite, r)) is None or seconds <= self.left)
        return next(fitting, None if self.done or not free else free[0])

    def _free(self, run: str) -> bool:
        from bench.training.lock import held

        taken = held(claim_folder(self.suite.suite, run))
        return run not in {*self.failed, *self.stored} and not taken and bool(lacking(self.suite, run))

    def missing(self) -> list[str]:
        """Return the runs that are neither finished here nor stored."""
        return [run for run in self.suite.runs if run not in self.stored and lacking(self.suite, run)]

    def _do(self, run: str) -> bool:
        """Train and measure one run; False if the time ended during its training."""
        from bench.jobs.train import train
        from bench.training.train import Interrupted

        _fresh_device(self.device, self.suite.run(run).training.threads)
        say(f"{run}: {self.left:.0f} s left")
        try:
            with alarm(self.left):
                if "train" in lacking(self.suite, run):
                    train(self.suite, run, self.device)
        except Interrupted as interrupted:
            say(f"{run}: {interrupted}")
            return False
        began = time.monotonic()
        measure(self.suite, run, self.device)
        self._record(run, time.monotonic() - began)
        self.done.append(run)
        return True

    def _record(self, run: str, measured: float) -> None:
        """Write how long the run took and which share of the matrix rate its training reached; copy what is small."""
        folder, spec = paths.run_folder(self.suite.suite, run), self.suite.run(run)
        trained, macs = read_json(folder / "run.json"), macs_of(self.suite, run)
        result, rate = trained["result"], self.rates.get(spec.training.precision)
        share = None
        if rate and macs and result["images_per_second"]:
            share = 2 * 3 * macs * result["images_per_second"] / rate
        steps = spec.training.steps
        whole = result["seconds"] * steps / max(steps - (result["resumed_at"] or 0), 1)
        record = {
            "run": run, "train_seconds": whole, "measure_seconds": measured, "side_by_side": self.side_by_side,
            "device": trained["provenance"]["device"], "precision": spec.training.precision,
            "images_per_second": result["images_per_second"], "matrix_flops": rate, "share_of_matrix_rate": share,
        }  # fmt: skip
        write_json(folder / RECORD, record)
        if self.small is not None:
            copy_small(folder, self.small / self.suite.suite / "runs" / run)
        told = f", {share:.1%} of the measured matrix rate" if share else ""
        say(f"{run}: trained in {whole:.0f} s, measured in {measured:.0f} s{told}")


def prepare(suite: Plan, runs: list[str]) -> None:
    """Build the datasets and draw the subsets of these runs if they are not here."""
    from bench.data.build import build_dataset
    from bench.data.subset import write_subset

    for run in map(suite.run, runs):
        row = suite.all_datasets[run.dataset]
        for name in (row.base, run.dataset):
            if name is not None and not (paths.dataset_folder(name) / "manifest.json").exists():
                say(f"building {name}")
                workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
                build_dataset(name, suite.all_datasets[name], paths.dataset_folder(name), workers=workers)
        subset = paths.subset_file(run.dataset, run.shuffle)
        if not subset.exists():
            write_subset(paths.dataset_folder(run.dataset), run.shuffle, subset)


def lacking(suite: Plan, run: str) -> list[str]:
    """Return what is missing of a run for the present code, options and data: 'train', or metrics; empty if finished.

    A run with all its measurements needs no weights, which may stay on the machine that trained it.
    """
    folder = paths.run_folder(suite.suite, run)
    metrics = suite.metrics(run)
    if not (folder / "run.json").exists() or not records.trained(suite, run):
        return ["train", *metrics]
    missing = records.out_of_date(suite, run)
    gone = missing and not (folder / "weights.safetensors").exists()
    return ["train", *missing] if gone else missing


def macs_of(suite: Plan, run: str) -> float | None:
    """Return the multiply-adds of one forward pass as ``bench check`` counted them; None for a control."""
    spec = suite.run(run)
    row = suite.all_datasets[spec.dataset]
    image = f"{row.resolution}x{row.resolution}x{row.channels}"
    costs = read_json(paths.plan_file(suite.suite))["costs"]
    return costs.get(spec.model.name, {}).get(image, {}).get("macs")


def estimate(suite: Plan, run: str) -> float | None:
    """Return the seconds that a run will take, from the times of finished ones; None if nothing is known."""
    own: list[float] = []
    others: list[float] = []
    work = _work(suite, run)
    for name in suite.runs:
        file = paths.run_folder(suite.suite, name) / RECORD
        if file.exists() and work and (known := _work(suite, name)):
            record = read_json(file)
            seconds = (record["train_seconds"] + record["measure_seconds"]) * work / known
            (own if suite.run(name).model == suite.run(run).model else others).append(seconds)
    if own:
        return max(own)
    return OTHER_MODELS * max(others) if others else None


def _work(suite: Plan, run: str) -> float:
    training = suite.run(run).training
    return training.steps * training.batch * (macs_of(suite, run) or 0)


def copy_small(folder: Path, out: Path) -> None:
    """Copy a finished run's files but its weights, of the samples the first few: they count as finished elsewhere."""
    import numpy as np

    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        if file.suffix == ".safetensors" or file.name.startswith("."):
            continue
        if file.name == "samples.npz":
            with np.load(file, allow_pickle=False) as arrays:
                kept = {key: arrays[key][:SAMPLES] if key == "samples" else arrays[key] for key in arrays}
            save_arrays(out / file.relative_to(folder), **kept)
        else:
            (out / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, out / file.relative_to(folder))


def _fresh_device(device: str, threads: int) -> None:
    """Give the next run what a process of its own would have: threads, no compiled code, free memory."""
    import torch

    torch.set_num_threads(threads)
    torch.compiler.reset()  # else networks of one class share a limit of recompilations
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Ask the training to save and stop after ``seconds``."""

    def ring(number: int, frame: object) -> None:
        if callable(signal.getsignal(signal.SIGUSR2)):  # while a training listens
            signal.raise_signal(signal.SIGUSR2)
        else:
            signal.setitimer(signal.ITIMER_REAL, 1)  # it reads its data, or writes its results

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def claim_folder(suite: str, run: str) -> Path:
    """Return the folder whose lock says that a process does a run."""
    return paths.STATE / suite / run / "claim"


@contextlib.contextmanager
def _claim(suite: str, run: str) -> Iterator[bool]:
    """Yield whether this process may do a run; the claim ends with the process."""
    from bench.training.lock import lock

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(claim_folder(suite, run)))
        except BenchError:
            yield False
        else:
            yield True


def helpers(session: Session, count: int) -> list[subprocess.Popen]:
    """Start ``count`` more processes of this call, which take other runs."""
    command = [sys.executable, "-m", "bench.jobs.pieces", "--suite", session.suite.suite]
    command += ["--device", session.device]
    command += ["--until", str(session.deadline), "--helper", str(session.side_by_side)]
    if session.small is not None:
        command += ["--small", str(session.small)]
    command += ["--rates", json.dumps(session.rates)]
    return [subprocess.Popen(command) for _ in range(count)]


def run_pieces(
    suite: Plan,
    device: str,
    minutes: float,
    side_by_side: int = 1,
    small: Path | None = None,
    helper: int | None = None,
    until: float | None = None,
    rates: dict[str, float] | None = None,
) -> int:
    """Do the next whole runs; return 0 when the suite is finished, 75 where runs are left, 1 if one failed.

    ``helper``, ``until`` and ``rates`` are for the processes that ``side_by_side`` starts: how many they are, the
    starting process's deadline, and the matrix rates that it measured.
    """
    from bench.training.train import INTERRUPTED

    if minutes <= 0 or side_by_side < 1:
        raise BenchError("--minutes must be positive and --side-by-side at least 1.")
    session = Session(suite, until or time.time() + 60 * minutes, device, small, helper or side_by_side)
    if helper:
        session.rates = rates or {}
        session.work()
        return int(bool(session.failed))
    missing = session.missing()
    prepare(suite, missing)
    for precision in {suite.run(run).training.precision for run in missing}:
        session.rates[precision] = matrix_rate(session.device, precision)
        say(
            f"{session.device}: {session.rates[precision] / 1e12:.3g} TFLOP/s in a matrix product of {precision}"
        )
    others = helpers(session, min(side_by_side, len(missing)) - 1)
    session.work()
    failed = [other.wait() not in (0, INTERRUPTED) for other in others]
    left = session.missing()
    stored = f", {len(session.stored)} of them as stored baselines" if session.stored else ""
    say(f"{suite.suite}: {len(suite.runs) - len(left)} of {len(suite.runs)} runs are finished{stored}")
    if left:
        known = [seconds for run in left if (seconds := estimate(suite, run)) is not None]
        hours = f", about {sum(known) / 60:.0f} minutes" if len(known) == len(left) else ""
        say(
            f"left: {', '.join(left[:5])}{' ...' if len(left) > 5 else ''}{hours}; run the same command again to continue"
        )
    return 1 if session.failed or any(failed) else INTERRUPTED if left else 0


def main(words: list[str] | None = None) -> int:
    """Run ``python -m bench.jobs.pieces``: the options of ``bench pieces``."""
    parser = argparse.ArgumentParser(prog="python -m bench.jobs.pieces", description=__doc__)
    parser.add_argument("--suite", default="demo")
    parser.add_argument("--device")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--helper", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rates", type=json.loads, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(words))
    try:
        return run_pieces(
            read(paths.plan_file(given.pop("suite"))), torch_device(given.pop("device"), 1), **given
        )
    except BenchError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
