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
from PIL import Image
from safetensors.torch import load_file

from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.data.pixels import to_network
from bench.data.subset import write_subset
from bench.diffusion.schedule import make_schedule
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.options import MeasureOptions, RunSpec
from bench.support.errors import BenchError
from bench.training import live, state
from bench.training.loop import Loop
from bench.training.optimiser import decay_at, rate_at
from bench.training.options import TrainingOptions, recipe
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
    rows = (place / out / "history.csv").read_text().splitlines()
    assert rows[0] == "step,loss,learning_rate,images_per_second"
    history = [row.rsplit(",", 1)[0] for row in rows]  # the rate is the clock's
    return (place / out / "weights.safetensors").read_bytes(), history


def child(place, one, seconds=0.0):
    import pickle

    (place / "spec.pkl").write_bytes(pickle.dumps((one, place, seconds)))
    return subprocess.Popen([sys.executable, "-c", CHILD, str(place / "spec.pkl")], stderr=subprocess.DEVNULL)


def trains(place, process):
    """Whether this child, not one before it, has done a step."""
    found = [json.loads(path.read_text()) for path in (place / "state").glob("*/status.json")]
    return any(status["pid"] == process.pid for status in found)


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
        run(place, spec(place, scale=2.0), "other", checkpoint=state.checkpoints(folder)[0])
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
    for path in state.checkpoints(next((place / "state").iterdir())):
        weights = torch.load(path, weights_only=True)["model"]
        assert all(bool(torch.isfinite(w).all()) for w in weights.values())
    assert live.look(place / "out", place / "state").state == "failed"


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
    assert state.checkpoints(next((place / "state").iterdir()))[0].name.startswith("step00000049")


def test_a_device_without_memory_is_one_sentence(place, monkeypatch):
    def full(loop):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(Loop, "advance", full)
    with pytest.raises(BenchError, match=r"s0: cpu has too little memory for batches of 4 \(step 0\)"):
        run(place, spec(place))
    assert live.look(place / "out", place / "state").state == "failed"


def test_a_checkpoint_that_cannot_be_read_now_is_not_deleted(place, monkeypatch, capsys):
    undisturbed = run(place, spec(place), checkpoint_seconds=0)
    newest, _ = state.checkpoints(next((place / "state").iterdir()))
    read_bytes = Path.read_bytes

    def failing(path):
        if path == newest:
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        train(spec(place), *(place / n for n in ("data", "s0.npz", "out", "state")), code=CODE)
    assert "Input/output error. Going on from the one before." in capsys.readouterr().err
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


def test_state_in_use_is_not_called_stopped(place):
    run(place, spec(place))
    (folder,) = (place / "state").iterdir()
    status = state.Status(folder, 120)
    status.write("training", 60)
    with state.lock(folder):
        found = live.look(place / "none", place / "state")
        assert (found.state, found.step, found.steps) == ("training", 60, 120)
    assert live.look(place / "none", place / "state").state == "stopped"


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
    with pytest.raises(BenchError, match="Cannot write .*out: .* is not a writable folder"):
        run(place, spec(place))
    assert not (place / "state").exists(), "it was found only after the training"


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
    steps = [int(line.split(",")[0]) for line in history[1:]]
    assert steps == list(range(1, 121))


def test_the_loop_learns(place):
    _, history = run(place, spec(place, steps=400, learning_rate=5e-3))
    losses = [float(line.split(",")[1]) for line in history[1:]]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


RECIPES = {
    "v": {"prediction": "v", "weighting": "min-snr"},
    "x0": {"prediction": "x0"},
    "decay": {"rate_schedule": "cosine", "warmup": 20, "clip": 1.0, "ema_ramp": True},
    "sgd": {"optimiser": "sgd", "momentum": 0.9, "rate_schedule": "linear", "accumulate": 2},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_on_in_the_same_bits(place, name, monkeypatch):
    one = spec(place, **RECIPES[name])
    undisturbed = run(place, one, "calm", "calm-state")
    plain, _ = run(place, spec(place), "plain", "plain-state")
    assert undisturbed[0] != plain
    advance = Loop.advance

    def broken(loop):
        if loop.step == 70:
            raise BenchError("the power failed")
        advance(loop)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", broken)
        with pytest.raises(BenchError, match="power"):
            run(place, one, checkpoint_seconds=0)
    assert run(place, one) == undisturbed


def test_the_rate_rises_and_falls_to_zero():
    options = TrainingOptions(steps=100, learning_rate=2.0, warmup=10, rate_schedule="cosine")
    rates = [rate_at(options, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0) and rates == sorted(rates[:10]) + sorted(rates[10:])[::-1]
    assert 0 < rates[99] < 0.001
    linear = TrainingOptions(steps=100, learning_rate=2.0, rate_schedule="linear")
    assert [rate_at(linear, step) for step in (0, 50)] == [2.0, 1.0]
    assert rate_at(TrainingOptions(steps=100, learning_rate=2.0), 99) == 2.0


def test_the_average_follows_early_weights_sooner_with_a_ramp():
    options = TrainingOptions(ema=0.99, ema_ramp=True)
    assert [decay_at(options, step) for step in (0, 8, 10_000)] == [0.1, 0.5, 0.99]
    assert decay_at(TrainingOptions(ema=0.99), 0) == 0.99


def loop(**options) -> Loop:
    torch.manual_seed(0)
    network = Pointwise()
    images = torch.arange(64 * 16, dtype=torch.int64).remainder(256).to(torch.uint8).view(64, 4, 4, 1)
    recipe = {"steps": 5, "batch": 8, "learning_rate": 0.1, "ema": 0.5} | options
    return Loop(network, make_schedule("linear", 1000), images, TrainingOptions(**recipe), 0)


class Pointwise(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x, t, y=None):
        return self.weight[0] * x + self.weight[1]


def test_a_batch_in_parts_gives_the_same_step_up_to_rounding():
    whole, parts = loop(), loop(accumulate=4)
    for _ in range(5):
        whole.advance()
        parts.advance()
    torch.testing.assert_close(parts.parameters, whole.parameters, rtol=1e-5, atol=1e-6)
    assert parts.history[-1][1] == pytest.approx(whole.history[-1][1], rel=1e-6)


def test_sgd_with_momentum_and_clipping_moves_as_the_formula_says():
    made = loop(optimiser="sgd", momentum=0.5, clip=0.01)
    before, moves = made.parameters[0].detach().clone(), []
    for _ in range(2):
        made.advance()
        moves.append(made.parameters[0].detach() - before)
        before = made.parameters[0].detach().clone()
    assert float(moves[0].norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)
    gradient = made.parameters[0].grad
    torch.testing.assert_close(moves[1], 0.5 * moves[0] - 0.1 * gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"warmup": 100}, r"warmup must be at least 0 and less than steps \(100\), not 100"),
        ({"clip": 0.0}, "clip must be positive or null"),
        ({"accumulate": 3}, r"batch must be a multiple of accumulate \(3\), not 64"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive and finite"),
    ],
)
def test_an_impossible_recipe_is_one_sentence(options, text):
    with pytest.raises(ValueError, match=text):
        TrainingOptions(steps=100, **options)


def test_recipes_that_train_alike_are_one(place):
    def same(a, b):
        return recipe(spec(place, **a)) == recipe(spec(place, **b))

    assert same({"prediction": "v", "weighting": "v"}, {"prediction": "v"})
    assert same({"weighting": "eps"}, {}) and same({"momentum": 0.5}, {})
    assert same({"optimiser": "sgd", "betas": [0.5, 0.5]}, {"optimiser": "sgd"})
    assert not same({"weighting": "v"}, {"prediction": "v"}) and not same({"ema_ramp": True}, {})
    assert not {"prediction", "clip", "momentum"} & set(recipe(spec(place))["training"])


def test_a_checkpoint_of_another_prediction_is_refused(place):
    run(place, spec(place))
    (folder,) = (place / "state").iterdir()
    with pytest.raises(BenchError, match="another configuration"):
        run(place, spec(place, prediction="v"), "other", checkpoint=state.checkpoints(folder)[0])


NORMS = """
import torch
from bench.models.bias_free import BiasFreeNorm
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, norm):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 8, 3, padding=1), norm(8), torch.nn.Conv2d(8, channels, 3, padding=1))
        if norm is BiasFreeNorm:
            torch.nn.init.ones_(self.layers[1].gain)

    def forward(self, x, t, y=None):
        return self.layers(x)

@register_model("net")
def net(image_size, channels, bias_free: bool = False):
    return Net(channels, BiasFreeNorm if bias_free else torch.nn.BatchNorm2d)
"""


def denoising_error(place, weights, options) -> float:
    """Mean squared error of eps on the training images, in evaluation mode."""
    model = build(ModelSpec("net", "net", options, str(place / "net.py")), 8, 1)
    model.load_state_dict(weights)
    images = to_network(open_dataset(place / "data").train[:20]).repeat(50, 1, 1, 1)
    draws, schedule = torch.Generator().manual_seed(1), make_schedule("linear", 1000)
    t = torch.randint(1000, (len(images),), generator=draws)
    noise = torch.randn(images.shape, generator=draws)
    with torch.no_grad():
        return float((model.eval()(schedule.q_sample(images, t, noise), t) - noise).square().mean())


@pytest.mark.parametrize("bias_free", [False, True])
def test_running_statistics_are_those_of_the_averaged_weights(place, bias_free):
    (place / "net.py").write_text(NORMS)
    model = ModelSpec("net", "net", {"bias_free": bias_free}, str(place / "net.py"))
    one = dataclasses.replace(
        spec(place, steps=60, learning_rate=2e-2, snapshots=[30], keep_raw=True), model=model
    )
    one = dataclasses.replace(one, training=dataclasses.replace(one.training, ema=0.98))
    run(place, one)
    weights = load_file(place / "out/weights.safetensors")
    last = load_file(place / "out/raw.safetensors")
    statistics = [name for name in weights if "running" in name or "tracked" in name]
    assert statistics
    stale = {**weights, **{name: last[name] for name in statistics}}
    error = denoising_error(place, weights, model.options)
    assert error < 0.95 * denoising_error(place, stale, model.options)
    kept = load_file(place / "out/snapshots/step00000030.safetensors")
    assert any(not torch.equal(kept[name], weights[name]) for name in statistics)
    without = dataclasses.replace(one, training=dataclasses.replace(one.training, snapshots=[]))
    run(place, without, "without")
    other = load_file(place / "without/weights.safetensors")
    assert all(torch.equal(other[name], weights[name]) for name in weights), "a snapshot changed the training"


def test_checkpoints_are_log_spaced_and_end_at_the_last_step():
    assert TrainingOptions(steps=450, checkpoints=5).kept == [28, 56, 112, 225, 450]
    assert TrainingOptions(steps=450, checkpoints=2, snapshots=[10, 450]).kept == [10, 225, 450]
    many = TrainingOptions(steps=2_000_000, checkpoints=40).kept
    assert len(many) == 40 and many[0] == 2000 and many[-1] == 2_000_000
    ratios = [b / a for a, b in zip(many, many[1:])]
    assert max(ratios) / min(ratios) < 1.01
    assert TrainingOptions(steps=3, checkpoints=5).kept == [1, 2, 3]
    assert TrainingOptions(steps=3).kept == []


CLASSES = """
import torch
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, num_classes, label_dropout):
        super().__init__()
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.label = torch.nn.Embedding(num_classes, channels)

    def forward(self, x, t, y=None):
        return self.label(y)[:, :, None, None] + 0 * x

@register_model("net")
def net(image_size, channels, num_classes: int = 2, label_dropout: float = 0.0):
    return Net(channels, num_classes, label_dropout)
"""


@pytest.fixture
def classes(place):
    """A dataset of two classes, dark and light, and a network that sees nothing but the class."""
    (place / "net.py").write_text(CLASSES)
    draws = np.random.default_rng(0)
    for folder, low in (("dark", 0), ("light", 156)):
        (place / "images" / folder).mkdir(parents=True)
        for number in range(14):
            pixels = draws.integers(low, low + 100, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "images" / folder / f"{number}.png")
    row = DatasetOptions(
        title="x", resolution=8, channels=1, source=str(place / "images"), test=4, labels="folder"
    )
    build_dataset("data", row, place / "classes")
    write_subset(place / "classes", 0, place / "c0.npz")
    return place


def trained_on_labels(classes, kind, options=None):
    one = spec(classes, steps=400, learning_rate=2e-2, labels=kind, prediction="x0")
    one = dataclasses.replace(one, model=dataclasses.replace(one.model, options=options or {}))
    train(one, classes / "classes", classes / "c0.npz", classes / kind, classes / "state", code=CODE)
    return load_file(classes / kind / "weights.safetensors")["label.weight"].flatten()


def test_own_labels_tell_the_classes_apart_and_random_ones_do_not(classes):
    dark, light = trained_on_labels(classes, "own").tolist()
    assert dark == pytest.approx(50 / 127.5 - 1, abs=0.1)
    assert light == pytest.approx(206 / 127.5 - 1, abs=0.1)
    one, other = trained_on_labels(classes, "random").tolist()
    assert abs(one - other) < 0.6 * (light - dark)


def test_labels_that_do_not_fit_are_one_sentence(classes):
    with pytest.raises(BenchError, match="has 2 classes but net 3; set num_classes: 2"):
        trained_on_labels(classes, "own", {"num_classes": 3})
    with pytest.raises(BenchError, match="needs the class of each image; set training.labels"):
        trained_on_labels(classes, "none")
    with pytest.raises(BenchError, match="takes no labels; set its option num_classes"):
        trained_on_labels(classes, "random", {"num_classes": 0})
    with pytest.raises(
        BenchError, match="dataset data has no classes; set training.labels to none or random"
    ):
        one = spec(classes, labels="own")
        run(classes, dataclasses.replace(one, model=dataclasses.replace(one.model, options={})))
