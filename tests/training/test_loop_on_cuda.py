"""Training on a CUDA device: the same bits after a resumption and when captured, no waiting, memory errors as a sentence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.diffusion.schedule import make_schedule
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError
from bench.support.randomness import generator, seed_all
from bench.training.loop import Loop
from bench.training.options import TrainingOptions
from bench.training.train import _enough_memory

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DIT = ModelSpec("dit", "dit", {"width": 32, "depth": 2, "heads": 2, "patch": 2})
UNET = ModelSpec("unet", "unet", {"width": 16, "blocks": 1, "multipliers": [1, 2], "groups": 8})
RECIPE = {
    "steps": 12,
    "batch": 8,
    "ema": 0.9,
    "learning_rate": 1e-3,
    "warmup": 4,
    "rate_schedule": "cosine",
    "clip": 1.0,
}


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def loop(spec=DIT, captured=True, **recipe):
    images = torch.randint(256, (50, 16, 16, 3), dtype=torch.uint8, generator=generator(0, "images")).cuda()
    seed_all(0, "init")
    model = build(spec, 16, 3).cuda().train()
    made = Loop(model, make_schedule("linear"), images, TrainingOptions(**{**RECIPE, **recipe}), 0)
    if not captured:
        made.graph = None
    return made


def steps(made, count):
    for _ in range(count):
        made.advance()
    return made.averaged()


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("spec", [DIT, UNET], ids=["dit", "unet"])
@pytest.mark.parametrize("recipe", [{}, {"precision": "bfloat16"}, {"prediction": "v"}], ids=str)
def test_captured_steps_have_the_bits_of_others(spec, recipe):
    assert same(steps(loop(spec, **recipe), 12), steps(loop(spec, captured=False, **recipe), 12))


@pytest.mark.parametrize("spec", [DIT, UNET], ids=["dit", "unet"])
def test_a_resumed_training_ends_in_the_same_bits(spec):
    whole = steps(loop(spec), 12)
    first = loop(spec)
    steps(first, 7)
    second = loop(spec)
    second.restore(first.state())
    assert same(whole, steps(second, 5))


@pytest.mark.parametrize("captured", [True, False])
def test_a_step_does_not_wait_for_the_device(captured):
    made = loop(captured=captured, steps=100_000)
    made.every = 10**9
    steps(made, 5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            made.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_draws_are_a_function_of_position():
    seed_all(3, "step", 7)
    first = torch.randn(5, device="cuda")
    torch.randn(11, device="cuda")
    seed_all(3, "step", 7)
    assert torch.equal(first, torch.randn(5, device="cuda"))


def test_too_little_memory_is_one_sentence():
    made = loop(batch=4_000_000, captured=False)
    said = "too little memory for batches of 4000000"
    spec = SimpleNamespace(name="run", training=made.options)
    with pytest.raises(BenchError, match=said), _enough_memory(spec, "cuda"):
        made.advance()
