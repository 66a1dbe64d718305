"""A training that was stopped anywhere and started again ends in the same bits; what goes wrong is one sentence."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import write_subset
from bench.errors import BenchError
from bench.options import MeasureOptions, ModelSpec, RunSpec, TrainingOptions
from bench.training import state
from bench.training.train import train

NETWORK = """
import torch
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(channels, 8, 3, padding=1), torch.nn.Conv2d(8, channels, 3, padding=1)
        self.dropout, self.scale = torch.nn.Dropout(0.1), scale

    def forward(self, x, t, y=None):
        return self.second(self.dropout(torch.relu(self.first(x * self.scale))))

@register_model("net")
def net(image_size, channels, scale: float = 1.0):
    return Net(channels, scale)
"""

CHILD = """
import sys, pickle
from pathlib import Path
import torch
torch.set_num_threads(1)
from bench.training.train import Interrupted, train
spec, folder, seconds = pickle.loads(Path(sys.argv[1]).read_bytes())
try:
    places = (folder / "data", folder / "s0.npz", folder / "out", folder / "state")
    train(spec, *places, code={"fingerprint": "c", "definitions": {}}, checkpoint_seconds=seconds)
except Interrupted:
    sys.exit(75)
"""

CODE = {"fingerprint": "c", "definitions": {}}


@pytest.fixture
def place(tmp_path):
    """A dataset, its subset and a user's network file."""
    torch.set_num_threads(1)
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=20, test=8)
    build_dataset("data", row, tmp_path / "data")
    write_subset(tmp_path / "data", 0, tmp_path / "s0.npz")
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def spec(place, steps=120, scale=1.0, size=10, **training):
    model = ModelSpec("net", "net", {"scale": scale}, str(place / "net.py"))
    options = TrainingOptions(
        steps=steps, batch=4, learning_rate=training.pop("learning_rate", 1e-3), ema=0.9, **training
    )
    return RunSpec("suite", "data.net.n10.s0", "data", model, size, 0, "", options, MeasureOptions())


def run(place, one, out="out", root="state", **more):
    train(one, place / "data", place / "s0.npz", place / out, place / root, code=CODE, **more)
    return (place / out / "weights.safetensors").read_bytes(), (place / out / "history.csv").read_text()


def child(place, one, seconds=0.0):
    import pickle

    (place / "spec.pkl").write_bytes(pickle.dumps((one, place, seconds)))
    return subprocess.Popen([sys.executable, "-c", CHILD, str(place / "spec.pkl")], stderr=subprocess.DEVNULL)


def test_killed_at_random_moments_it_ends_in_the_same_bits(place):
    one = spec(place, steps=300, snapshots=[150])
    undisturbed = run(place, one, "calm", "calm-state")
    moments, kills = (
        random.Random(int(os.environ.get("BENCH_SEED", "0"))),
        int(os.environ.get("BENCH_KILLS", "3")),
    )
    killed = 0
    while killed < kills:
        process = child(place, one)
        while not list((place / "state").glob("*/status.json")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.6)
        killed += process.poll() is None
        process.kill()
        process.wait()
        if (place / "out" / "run.json").exists():  # it came to its end: compare, and begin again
            assert run(place, one) == undisturbed
            shutil.rmtree(place / "state")
            shutil.rmtree(place / "out")
    assert run(place, one) == undisturbed
    assert (place / "out/snapshots/step00000150.safetensors").read_bytes() == (
        place / "calm/snapshots/step00000150.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_saves_and_the_same_command_goes_on(place, number):
    one = spec(place, steps=3000)
    process = child(place, one, seconds=1e9)
    while not list((place / "state").glob("*/status.json")):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == 75
    folder = next((place / "state").iterdir())
    assert 0 < int(state.checkpoints(folder)[0].name[4:12]) < 3000
    assert not (place / "out").exists()


def test_a_truncated_checkpoint_falls_back_to_the_one_before(place, capsys):
    one = spec(place)
    undisturbed = run(place, one, checkpoint_seconds=0)
    folder = next((place / "state").iterdir())
    newest, before = state.checkpoints(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    assert run(place, one) == undisturbed
    said = capsys.readouterr().err
    assert "damaged" in said and "going on from step 119" in said
    assert before.exists()


def test_a_foreign_checkpoint_is_refused_by_name(place):
    run(place, spec(place))
    folder = next((place / "state").iterdir())
    with pytest.raises(BenchError, match="another configuration"):
        run(place, spec(place, scale=2.0), "other", checkpoint=state.checkpoints(folder)[0])
    assert not (place / "other").exists()


def test_changed_options_start_afresh_beside_the_old_state(place):
    first, _ = run(place, spec(place))
    second, _ = run(place, spec(place, scale=2.0))
    assert first != second and len(list((place / "state").iterdir())) == 2


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(place):
    one = spec(place, scale=1e30, learning_rate=1.0, steps=1000)
    with pytest.raises(BenchError, match="not finite.*lower learning_rate") as caught:
        run(place, one, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    assert not (place / "out").exists()
    for path in state.checkpoints(next((place / "state").iterdir())):
        weights = torch.load(path, weights_only=True)["model"]
        assert all(bool(torch.isfinite(w).all()) for w in weights.values())


def test_two_trainings_of_one_run_are_refused(place):
    one = spec(place, steps=100_000)
    process = child(place, one, seconds=1e9)
    try:
        while not list((place / "state").glob("*/status.json")):
            time.sleep(0.01)
        with pytest.raises(BenchError, match=f"is being trained by process {process.pid}"):
            run(place, one)
    finally:
        process.kill()
        process.wait()


def test_n_larger_than_the_pool(place):
    with pytest.raises(BenchError, match="20 training images, fewer than N = 21"):
        run(place, spec(place, size=21))


def test_unwritable_output(place):
    (place / "out").write_text("a file, not a folder")
    with pytest.raises(BenchError, match="Cannot write .*weights.safetensors"):
        run(place, spec(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small tmpfs")
def test_full_disk_keeps_the_older_checkpoint(place):
    small = place / "state"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", small], capture_output=True
    ).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        one = spec(place)
        with pytest.raises(BenchError, match="Cannot write"):
            for _ in range(3):
                run(place, one, checkpoint_seconds=0)
                filler = Path(small) / "filler"
                filler.write_bytes(b"x" * (96 * 1024 - 60_000))
                one = spec(place, scale=one.model.options["scale"] + 1)
        for folder in small.glob("*/"):
            assert not list(folder.glob(".*.pt")), "a half-written checkpoint stayed"
            for path in state.checkpoints(folder):
                state.read(path, folder.name)
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_history_counts_every_step_once(place):
    _, history = run(place, spec(place))
    steps = [int(line.split(",")[0]) for line in history.splitlines()[1:]]
    assert steps == list(range(1, 121))


def test_the_loop_learns(place):
    _, history = run(place, spec(place, steps=400, learning_rate=5e-3))
    losses = [float(line.split(",")[1]) for line in history.splitlines()[1:]]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
