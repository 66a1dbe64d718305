"""Training histories as TensorBoard events, read back by TensorBoard itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.support import paths

RUN = "disks-8.dit-t16.n10.s0"


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = paths.run_folder("smoke", RUN)
    folder.mkdir(parents=True)
    text = "step,loss,learning_rate,images_per_second\n10,0.5,0.001,99\n20,0.25,0.002,101\n"
    (folder / "history.csv").write_text(text)


def test_events_hold_the_history(history, capsys):
    pytest.importorskip("tensorboard", reason="the optional package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["runs", "tensorboard", "--suite", "smoke", "--out", "events"]) == 0
    events = EventAccumulator(str(Path("events") / RUN)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/loss")] == [(10, 0.5), (20, 0.25)]
    assert len(list(Path("events").iterdir())) == 1
    assert main(["runs", "tensorboard", "--suite", "smoke", "--out", "events"]) == 1
    assert "already exists" in capsys.readouterr().err


def test_nothing_was_trained(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboard", reason="the optional package tensorboard is not installed")
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "tensorboard", "--suite", "smoke"]) == 1
    assert "was trained here" in capsys.readouterr().err
