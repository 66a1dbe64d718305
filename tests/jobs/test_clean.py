"""``bench runs clean``: what it would delete, and what stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.suite import plan
from bench.support import paths
from bench.support.files import write_json
from bench.training.lock import lock
from bench.training.train import training_digest

RUN = "disks-8.dit-t16.n10.s0"
OLD = "0123456789abcdef"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The state folders of a run: the one that it resumes from, and one of an older recipe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    write_json(paths.dataset_folder("disks-8") / "manifest.json", {"sha256": "d" * 64})
    suite = plan.load("smoke")
    root = paths.state_root("smoke", RUN)
    for name in (training_digest(suite.run(RUN), "d" * 64, suite.code("train", RUN)), OLD):
        (root / name).mkdir(parents=True)
        (root / name / "step00000001-0123456789abcdef.pt").write_bytes(b"x" * 1000)
    return root


def clean(*words: str) -> int:
    return main(["runs", "clean", "--suite", "smoke", *words])


def test_it_shows_and_deletes_only_when_told(place, capsys):
    assert clean() == 0
    out, err = capsys.readouterr()
    assert f"delete\t1 kB\t{place / OLD}" in out and "the run resumes from it" in out
    assert "Nothing was deleted" in err and len(list(place.iterdir())) == 2
    assert clean("--yes") == 0
    assert "1 kB freed" in capsys.readouterr().err and not (place / OLD).exists()
    assert len(list(place.iterdir())) == 1
    assert clean("--yes") == 0 and "Nothing to delete" in capsys.readouterr().err


def test_it_keeps_what_it_cannot_judge(place, capsys):
    stranger = paths.state_root("smoke", "disks-8.mine.n10.s0") / OLD
    stranger.mkdir(parents=True)  # of a model that BENCH_MODEL does not name now
    (paths.dataset_folder("disks-8") / "manifest.json").unlink()
    assert clean("--yes") == 0
    assert "disks-8 is not built here" in capsys.readouterr().out
    assert (place / OLD).exists() and stranger.exists()


def test_it_keeps_what_trains_here_or_may_train_elsewhere(place, capsys):
    with lock(place / OLD):
        assert clean("--yes") == 0
    assert "a process trains in it" in capsys.readouterr().out and (place / OLD).exists()
    start = {"exit": None, "state": "training", "host": "far-away", "time": time.time() - 60}
    write_json(place / OLD / "log.json", {"starts": [start]})
    assert clean("--yes") == 0
    assert "a training on far-away may still run" in capsys.readouterr().out and (place / OLD).exists()
    write_json(place / OLD / "log.json", {"starts": [{**start, "time": time.time() - 7 * 24 * 3600}]})
    assert clean("--yes") == 0 and not (place / OLD).exists()
