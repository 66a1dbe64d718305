"""A training that was stopped anywhere and started again ends in the same bits; what goes wrong is one sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_training import CODE, NETWORK, run, spec

from bench.diffusion.schedule import make_schedule
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError
from bench.training import checkpoint
from bench.training.log import look, starts
from bench.training.loop import Loop
from bench.training.options import TrainingOptions
from bench.training.train import train

CHILD = """
import sys, pickle
from pathlib import Path
import torch
from safetensors.torch import load_file
torch.set_num_threads(1)
from bench.training.train import Interrupted, train
spec, folder, seconds = pickle.loads(Path(sys.argv[1]).read_bytes())
try:
    places = (folder / "data", folder / "s0.npz", folder / "out", folder / "state")
    train(spec, *places, code={"fingerprint": "c", "definitions": {}}, checkpoint_seconds=seconds)
except Interrupted:
    sys.exit(75)
"""


def child(place, one, seconds=0.0):
    import pickle

    (place / "spec.pkl").write_bytes(pickle.dumps((one, place, seconds)))
    return subprocess.Popen([sys.executable, "-c", CHILD, str(place / "spec.pkl")], stderr=subprocess.DEVNULL)


def trains(place, process):
    """Whether this child, not one before it, has begun."""
    found = [starts(path.parent) for path in (place / "state").glob("*/log.json")]
    return any(rows[-1]["pid"] == process.pid for rows in found)


def newest(folder):
    return checkpoint.checkpoints(folder)[0]


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
        while process.poll() is None and not trains(place, process):
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
    while not list((place / "state").glob("*/log.json")):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == 75
    folder = next((place / "state").iterdir())
    assert 0 < int(newest(folder).name[4:12]) < 3000
    assert not (place / "out").exists()


def test_a_truncated_checkpoint_falls_back_to_the_one_before(place, capsys):
    one = spec(place)
    undisturbed = run(place, one, checkpoint_seconds=0)
    folder = next((place / "state").iterdir())
    newest, before = checkpoint.checkpoints(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    (folder / ".step00000121-half.x.pt").write_bytes(b"half")  # of a process killed while it saved
    assert run(place, one) == undisturbed
    said = capsys.readouterr().err
    assert "damaged" in said and "going on from step 119" in said
    assert before.exists() and not list(folder.glob(".step*"))
    first, second = json.loads((place / "out/run.json").read_text())["attempts"]
    assert (first["exit"], first["last_step"]) == ("done", 120)
    assert (second["exit"], second["first_step"], second["last_step"]) == ("done", 119, 120)


def test_a_foreign_checkpoint_is_refused_by_name(place):
    run(place, spec(place))
    folder = next((place / "state").iterdir())
    with pytest.raises(BenchError, match="another configuration"):
        run(place, spec(place, scale=2.0), "other", checkpoint=newest(folder))
    assert not (place / "other").exists()


def test_changed_options_start_afresh_beside_the_old_state(place):
    first, _ = run(place, spec(place))
    second, _ = run(place, spec(place, scale=2.0))
    assert first != second and len(list((place / "state").iterdir())) == 2


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(place):
    one = spec(place, scale=1e30, learning_rate=1.0, steps=1000)
    with pytest.raises(BenchError, match="data.net.n10.s0: .* not finite.*lower learning_rate") as caught:
        run(place, one, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    assert not (place / "out").exists()
    for path in checkpoint.checkpoints(next((place / "state").iterdir())):
        weights = torch.load(path, weights_only=True)["model"]
        assert all(bool(torch.isfinite(w).all()) for w in weights.values())
    assert look(place / "out", place / "state").state == "failed"


def test_weights_that_are_not_finite_are_not_saved(place, monkeypatch):
    """A finite loss whose gradient is not: the step after would tell, but the checkpoint comes first."""
    advance = Loop.advance

    def broken(loop):
        advance(loop)
        if loop.step == 50:
            with torch.no_grad():
                loop.parameters[0][0, 0, 0, 0] = float("nan")

    monkeypatch.setattr(Loop, "advance", broken)
    with pytest.raises(BenchError, match="weights are not finite at step 50"):
        run(place, spec(place), checkpoint_seconds=0)
    assert checkpoint.checkpoints(next((place / "state").iterdir()))[0].name.startswith("step00000049")


def test_a_device_without_memory_is_one_sentence(place, monkeypatch):
    def full(loop):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(Loop, "advance", full)
    with pytest.raises(
        BenchError, match=r"s0: cpu has too little memory for batches of 4; raise training.accumulate"
    ):
        run(place, spec(place))
    assert look(place / "out", place / "state").state == "failed"


def test_a_checkpoint_that_cannot_be_read_now_is_not_deleted(place, monkeypatch, capsys):
    undisturbed = run(place, spec(place), checkpoint_seconds=0)
    newest, _ = checkpoint.checkpoints(next((place / "state").iterdir()))
    read_bytes = Path.read_bytes

    def failing(path):
        if path == newest:
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        train(spec(place), *(place / n for n in ("data", "s0.npz", "out", "state")), code=CODE)
    assert "Input/output error. Using the previous one." in capsys.readouterr().err
    assert newest.exists() and run(place, spec(place)) == undisturbed


def test_compiling_reaches_the_method_that_is_trained(place, monkeypatch):
    """A network that learns its variance is called through `raw`."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda entry: compiled.append(entry.__name__) or entry)

    class Learned(torch.nn.Linear):
        learned_sigma = True

        def raw(self, x, t, y=None):
            return torch.cat([self(x), self(x)], dim=1)

    images = torch.zeros(2, 4, 4, 1, dtype=torch.uint8)
    options = TrainingOptions(steps=1, batch=2, compile=True)
    for network in (torch.nn.Linear(4, 4), Learned(4, 4)):
        Loop(network, make_schedule("linear", 1000), images, options, 0)
    assert compiled == ["forward", "raw"]


def test_two_trainings_of_one_run_are_refused(place):
    one = spec(place, steps=100_000)
    process = child(place, one, seconds=1e9)
    try:
        while not list((place / "state").glob("*/log.json")):
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
    with pytest.raises(BenchError, match="Cannot write .*out: .* is not a writable folder"):
        run(place, spec(place))
    assert not (place / "state").exists(), "it was found only after the training"


def test_an_input_of_the_future_is_refused_before_the_training(place):
    tomorrow = time.time() + 86400
    os.utime(place / "s0.npz", (tomorrow, tomorrow))
    with pytest.raises(
        BenchError, match=r"s0.npz was last changed in the future .*; set its time with `touch"
    ):
        run(place, spec(place))
    assert not (place / "state").exists()
    os.utime(place / "s0.npz", (time.time() + 5, time.time() + 5))  # clocks of two machines
    run(place, spec(place, steps=1))


def test_a_learned_variance_that_is_not_finite_is_one_sentence(place):
    (place / "net.py").write_text(
        NETWORK.replace("super().__init__()", "super().__init__(); self.learned_sigma = True")
        + "\nNet.raw = lambda self, x, t, y=None: torch.cat([self(x, t), float('nan') * self(x, t)], dim=1)\n"
    )
    with pytest.raises(BenchError, match="loss is not finite.*lower learning_rate"):
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
            for path in checkpoint.checkpoints(folder):
                checkpoint.read(path)
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_history_counts_every_step_once(place):
    _, history = run(place, spec(place))
    steps = [int(line.split(",")[0]) for line in history[1:]]
    assert steps == list(range(1, 121))


def test_the_loop_learns(place):
    _, history = run(place, spec(place, steps=400, learning_rate=5e-3))
    losses = [float(line.split(",")[1]) for line in history[1:]]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_checkpoint_of_another_prediction_is_refused(place):
    run(place, spec(place))
    (folder,) = (place / "state").iterdir()
    with pytest.raises(BenchError, match="another configuration"):
        run(place, spec(place, prediction="v"), "other", checkpoint=newest(folder))


def test_a_control_of_the_pool_is_fitted_to_all_training_images(place):
    one = dataclasses.replace(spec(place, size=10), model=ModelSpec("wiener-pool", "wiener-pool", {}))
    train(one, place / "data", place / "s0.npz", place / "out", place / "state", code=CODE)
    mean = load_file(place / "out" / "weights.safetensors")["mean"]
    pool = torch.from_numpy(np.load(place / "data" / "train.npy")).double() / 127.5 - 1
    assert torch.allclose(mean.double().flatten(), pool.mean(0).permute(2, 0, 1).flatten(), atol=1e-5)
