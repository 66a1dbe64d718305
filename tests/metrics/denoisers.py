"""Denoisers and runs for the tests of Jacobians."""

from __future__ import annotations

import types

import numpy as np
import torch

from bench.diffusion.schedule import make_schedule

SCHEDULE = make_schedule("linear", 1000)


GRID = SCHEDULE.respace(50)


class Denoiser(torch.nn.Module):
    """A denoiser D(y, sigma) of images y = x_0 + sigma z in [-1, 1], flattened to float64, as a noise prediction."""

    def __init__(self, denoise):
        super().__init__()
        self.denoise = denoise

    def forward(self, x, t, y=None):
        abar = float(SCHEDULE.alphas_cumprod[int(t[0])])
        sigma = ((1 - abar) / abar) ** 0.5
        noisy = x.double().flatten(1) / abar**0.5
        x0 = self.denoise(noisy, sigma).reshape(noisy.shape)
        return ((noisy - x0) / sigma).view(x.shape).to(x.dtype)


def memoriser(images):
    data = torch.from_numpy(images).permute(0, 3, 1, 2).double().flatten(1) / 127.5 - 1

    def denoise(y, sigma):
        return (-torch.cdist(y, data).square() / (2 * sigma**2)).softmax(1) @ data

    return Denoiser(denoise)


def fake_run(model, train, test, pool=None):
    return types.SimpleNamespace(
        spec=types.SimpleNamespace(name="toy"), model=model, device="cpu", schedule=SCHEDULE,
        dataset=types.SimpleNamespace(train=train if pool is None else pool),
        train_images=lambda n=None: train[:n], test_images=lambda n=None: test[:n],
    )  # fmt: skip


def pool(count, seed, side=4):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def series(found, metric, operator):
    rows = [r for r in found.rows if r["metric"] == metric and f"operator={operator};" in r["protocol"]]
    return np.array([r["value"] for r in rows])
