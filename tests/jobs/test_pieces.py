"""Pieces of a suite add up to the whole: the same bits as one run at a time, whatever was interrupted in between."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.jobs import pieces
from bench.results.tidy import read_tidy
from bench.suite import config, plan
from bench.support import paths
from bench.training.loop import Loop

SUITE = """
title: Two tiny runs
training: {steps: 12, batch: 4, ema: 0.5, flip: false}
measure:
  psnr: {images: 4, steps: 3}
  samples: {count: 4, sampler: ddim, steps: 2}
  frechet: {features: random-conv}
runs:
  - {datasets: [disks-8], models: [unet-t16], train_sizes: [10, 20]}
"""
TIMED = ("images_per_second", "peak_memory")
RUNS = ("disks-8.unet-t16.n10.s0", "disks-8.unet-t16.n20.s0")


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """A folder with the suite `tiny`, its plan written."""
    shutil.copytree(config.folder(), tmp_path / "config")
    (tmp_path / "config" / "suites" / "tiny.yaml").write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--suite", "tiny"]) == 0
    return tmp_path


def whole(folder: Path) -> None:
    """Make the suite as the workflow's rules do, command by command."""
    assert main(["data", "build", "disks-8", "--workers", "1"]) == 0
    subset = str(paths.subset_file("disks-8", 0))
    assert main(["data", "subset", "results/datasets/disks-8", "--shuffle", "0", "--out", subset]) == 0
    for run in RUNS:
        assert main(["train", run, "--suite", "tiny", "--device", "cpu"]) == 0
        assert main(["measure", "all", run, "--suite", "tiny", "--device", "cpu"]) == 0
    assert main(["tidy", "--suite", "tiny"]) == 0
    (folder / "results" / "tiny").rename(folder / "whole")
    shutil.rmtree(folder / ".runs")
    shutil.rmtree(folder / "results" / "references")


def call(*words: str) -> int:
    return main(["pieces", "--suite", "tiny", "--device", "cpu", *words])


def test_pieces_add_up_to_the_whole(tiny, capsys, monkeypatch):
    whole(tiny)
    assert main(["check", "--suite", "tiny"]) == 0
    # the time ends during a training: it stops, saved, and goes on at the next call
    with monkeypatch.context() as patch:
        advance = Loop.advance

        def advance_until_the_alarm(loop: Loop) -> None:
            advance(loop)
            if loop.step == 5:
                signal.raise_signal(signal.SIGALRM)

        patch.setattr(Loop, "advance", advance_until_the_alarm)
        assert call("--minutes", "5") == 75
    assert "0 of 2 runs are finished" in capsys.readouterr().err
    assert list(Path(".runs/tiny").glob("*/*/step00000005-*.pt"))
    assert call("--minutes", "5", "--small", "small") == 0
    assert "2 of 2 runs are finished" in capsys.readouterr().err
    assert main(["tidy", "--suite", "tiny"]) == 0
    mine, other = (read_tidy(Path(f) / "tidy.csv") for f in ("results/tiny", "whole"))
    mine, other = (t[~t["metric"].isin(TIMED)].reset_index(drop=True) for t in (mine, other))
    assert mine.equals(other)
    for run in RUNS:
        parts = [Path(f) / "runs" / run / "weights.safetensors" for f in ("results/tiny", "whole")]
        assert parts[0].read_bytes() == parts[1].read_bytes()
        record = json.loads((Path("results/tiny/runs") / run / "piece.json").read_text())
        assert record["train_seconds"] > 0 and 0 < record["share_of_matrix_rate"] < 1
    small_files_count_as_finished_elsewhere(tiny)


def small_files_count_as_finished_elsewhere(tiny: Path) -> None:
    assert not list(Path("small").rglob("*.safetensors"))
    shutil.rmtree("results/tiny/runs")
    shutil.copytree("small/tiny/runs", "results/tiny/runs")
    suite = plan.read(paths.plan_file("tiny"))
    assert not [run for run in RUNS if pieces.lacking(suite, run)]
    assert pieces.estimate(suite, RUNS[0]) > 0
    shutil.rmtree(Path("results/tiny/runs") / RUNS[1])
    assert pieces.lacking(suite, RUNS[1])[0] == "train"
    records = paths.measured_files("tiny", RUNS[0])[1]
    made = json.loads(records.read_text())
    del made["psnr"]
    records.write_text(json.dumps(made))
    assert pieces.lacking(suite, RUNS[0]) == ["train", "psnr"], "its weights stayed elsewhere"


def test_what_the_stored_baselines_hold_is_not_done_again(tiny, capsys, monkeypatch):
    folder = paths.baselines_folder("tiny")
    folder.mkdir(parents=True)
    (folder / "provenance.json").touch()
    metrics = plan.load("tiny").metrics(RUNS[0])
    found = {(RUNS[0], metric): "" for metric in metrics} | {(RUNS[1], metric): "" for metric in metrics[1:]}
    monkeypatch.setattr(
        pieces, "status", lambda suite: found | {(RUNS[1], metrics[0]): "code of psnr changed"}
    )
    assert call("--minutes", "5") == 0
    assert "2 of 2 runs are finished, 1 of them as stored baselines" in capsys.readouterr().err
    assert not paths.run_folder("tiny", RUNS[0]).exists() and paths.run_folder("tiny", RUNS[1]).exists()


def test_a_run_that_another_process_does_is_left_alone(tiny):
    from bench.training.lock import lock

    suite = plan.read(paths.plan_file("tiny"))
    session = pieces.Session(suite, 1e18, "cpu")
    with lock(pieces.claim_folder("tiny", RUNS[0])):
        assert session.next_run() == RUNS[1]
    assert session.next_run() == RUNS[0]


def test_what_does_not_fit_waits(tiny, monkeypatch):
    seconds = {RUNS[0]: 100.0, RUNS[1]: 5.0}
    monkeypatch.setattr(pieces, "estimate", lambda suite, run: seconds[run])
    session = pieces.Session(plan.read(paths.plan_file("tiny")), time.time() + 50, "cpu")
    assert session.next_run() == RUNS[1], "the next whole run that fits"
    session.failed.append(RUNS[1])
    assert session.next_run() == RUNS[0], "nothing was done yet: it stops in between, saved"
    session.done.append(RUNS[1])
    assert session.next_run() is None


def test_the_alarm_waits_until_a_training_listens(monkeypatch):
    heard = []
    with pieces.alarm(0.01):
        time.sleep(0.05)  # nobody listens: SIGUSR2 would end the process
        before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.05)
    signal.signal(signal.SIGUSR2, before)
    assert heard == [1] and signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_helpers_share_deadline_rates_and_folder(tiny, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", started.append)
    session = pieces.Session(
        plan.read(paths.plan_file("tiny")), 1e18, "cpu", Path("small"), 3, {"float32": 2e9}
    )
    pieces.helpers(session, 2)
    assert len(started) == 2
    words = [
        "--suite",
        "tiny",
        "--device",
        "cpu",
        "--until",
        "1e+18",
        "--helper",
        "3",
        "--small",
        "small",
        "--rates",
    ]
    assert started[0][3:] == [*words, '{"float32": 2000000000.0}']
    monkeypatch.setattr(pieces, "lacking", lambda suite, run: [])  # a helper that finds nothing to do
    assert pieces.main(started[0][3:]) == 0


def test_a_plan_that_was_never_written(tiny, capsys):
    assert main(["pieces", "--suite", "demo", "--minutes", "1"]) == 1
    assert "write it with `bench check --suite demo`" in capsys.readouterr().err
    assert call("--minutes", "0") == 1


def test_needs_neither_pydantic_nor_a_workflow_manager(tiny):
    code = (
        "import sys; banned = ('pydantic', 'typer', 'snakemake', 'submitit', 'matplotlib')\n"
        "for name in banned: sys.modules[name] = None\n"
        "from bench.jobs.pieces import main; main(['--suite', 'tiny', '--device', 'cpu', '--minutes', '0.0001'])\n"
        "import bench.metrics.psnr, bench.metrics.frechet, bench.metrics.memorization, bench.metrics.attention"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0 of 2 runs are finished" in done.stderr
