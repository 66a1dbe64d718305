"""Classifier-free guidance: the published mixture of two predictions, and samples by scale."""

from __future__ import annotations

import pytest
import torch

from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.diffusion.schedule import make_schedule
from bench.metrics.declare import measurements
from bench.metrics.guidance import GuidanceOptions, measure
from bench.metrics.numerics.guided import Guided, draw_guided
from bench.models.conformance import perturb
from bench.models.dit import DiT
from bench.models.spec import ModelSpec

DIT = {"depth": 1, "width": 16, "heads": 2, "patch": 2, "num_classes": 3, "label_dropout": 0.1}


class FakeRun:
    def __init__(self, model, dataset=None) -> None:
        self.model, self.schedule, self.dataset = model, make_schedule("linear"), dataset
        self.image_size, self.channels, self.device = 8, 1, "cpu"
        self.spec = type("Spec", (), {"name": "run", "model": ModelSpec("dit", "dit", DIT)})


def network(**more) -> DiT:
    torch.manual_seed(0)
    return perturb(DiT(8, 1, **DIT, **more)).eval()


@torch.no_grad()
def test_mixes_labelled_and_unlabelled_noise():
    model, x, t, y = network(), torch.randn(3, 1, 8, 8), torch.tensor([1, 500, 999]), torch.tensor([0, 1, 2])
    without, towards = model(x, t), model(x, t, y)
    for scale in (0.0, 1.0, 2.5):
        assert torch.allclose(
            Guided(model, y, scale)(x, t), (1 - scale) * without + scale * towards, atol=1e-5
        )


@torch.no_grad()
def test_a_learned_variance_is_that_of_the_labelled_prediction():
    model, x, t, y = (
        network(learned_sigma=True),
        torch.randn(2, 1, 8, 8),
        torch.tensor([3, 900]),
        torch.tensor([0, 2]),
    )
    found = Guided(model, y, 3.0).raw(x, t)
    assert torch.equal(found[:, 1:], model.raw(x, t, y)[:, 1:]) and not torch.equal(
        found[:, :1], model(x, t, y)
    )


def test_samples_depend_on_their_place_and_on_the_scale():
    run, options = FakeRun(network()), GuidanceOptions(count=70, steps=2)
    one, other = draw_guided(run, options, 1.0), draw_guided(run, options, 4.0)
    assert one.shape == (70, 8, 8, 1) and (one != other).any()
    assert (draw_guided(run, GuidanceOptions(count=10, steps=2), 1.0) == one[:10]).all()
    ancestral = GuidanceOptions(count=10, steps=2, sampler="ddpm")
    assert draw_guided(FakeRun(network(learned_sigma=True)), ancestral, 2.0).shape == (10, 8, 8, 1)


def test_rows_by_scale(tmp_path):
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=40, test=20)
    build_dataset("d", row, tmp_path / "d")
    options = GuidanceOptions([0.0, 2.0], count=20, steps=2, features="pixels", reference=30)
    found = measure(FakeRun(network(), open_dataset(tmp_path / "d")), options)
    assert [r["metric"] for r in found.rows] == ["guided_frechet", "guided_precision", "guided_recall"] * 2
    assert "reference=train:30;scale=2" in found.rows[3]["protocol"]
    assert found.arrays["samples_2"].shape == (16, 8, 8, 1)


def test_only_networks_with_a_null_label():
    applies = measurements()["guidance"].applies
    for options, expected in ((DIT, True), (DIT | {"label_dropout": 0}, False), ({}, False)):
        assert applies(type("Spec", (), {"model": ModelSpec("x", "dit", options)})) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": [1.0, 1.0]}, "once"),
        ({"scales": [-1.0]}, "must lie in"),
        ({"count": 4}, "more than neighbours"),
    ],
)
def test_options(given, message):
    with pytest.raises(ValueError, match=message):
        GuidanceOptions(**given)
