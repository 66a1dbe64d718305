"""Do two networks agree that saw disjoint images? After Kadkhodaie et al. 2024, Fig. 2.

Networks that memorise answer with their own training images; networks that generalize have found the same denoiser.
Half a and half b of a run are compared on the same noisy test images and on samples from the same noise.  The
cosine is that of images with their mean removed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import to_network
from bench.jobs.run import Run
from bench.metrics.measure import Measurement
from bench.metrics.options import FrechetOptions, HalvesOptions
from bench.metrics.samples import draw_samples, protocol_of
from bench.support.errors import BenchError
from bench.support.randomness import generator

BATCH = 128
SHOWN = 16  # pairs of samples that are kept


def directions(images: Tensor) -> Tensor:
    """Return images (n, ...) as vectors (n, d) float64 with mean 0 and length 1; a constant image as zeros."""
    flat = images.double().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)


def cosine(first: Tensor, second: Tensor) -> np.ndarray:
    """Return the cosine of each pair of images (n, ...), their means removed, (n,) in [-1, 1]."""
    return (directions(first) * directions(second)).sum(1).cpu().numpy()


def most_similar(images: np.ndarray, run: Run) -> np.ndarray:
    """Return the cosine of each image with the most similar training image of a run, mirrored where it mirrors, (n,)."""
    train = run.train_images()
    train = np.concatenate([train, train[:, :, ::-1]]) if run.spec.training.flip else train
    own = directions(torch.tensor(images))
    found = [own @ directions(torch.tensor(train[i : i + 4096])).T for i in range(0, len(train), 4096)]
    return torch.stack([block.max(1).values for block in found]).max(0).values.numpy()


@torch.no_grad()
def outputs_by_step(first: Run, second: Run, options: HalvesOptions) -> dict[str, np.ndarray]:
    """Return the cosines of noise predictions and of x0 estimates on test images, each (K, S)."""
    images = to_network(first.test_images(options.images)).to(first.device)
    grid = first.schedule.respace(options.steps)
    found = {name: np.empty((len(images), len(grid))) for name in ("eps", "x0")}
    for index in range(len(grid)):
        noise = torch.randn(images.shape, generator=generator(0, "psnr-noise", index)).to(images.device)
        x_t = grid.q_sample(images, index, noise)
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            t = torch.full((len(x_t[rows]),), int(grid.timesteps[index]), device=x_t.device)
            eps = [run.model(x_t[rows], t) for run in (first, second)]
            x0 = [grid.x0_from_eps(x_t[rows], index, value, clip=True) for value in eps]
            found["eps"][rows, index], found["x0"][rows, index] = cosine(*eps), cosine(*x0)
    return found


def partner_of(run: Run) -> Run:
    """Return the finished half a of a half b; raises BenchError where the two do not belong together."""
    if run.spec.half != "b":
        raise BenchError(
            f"{run.spec.name} is no half b; halves are measured of the runs of a block with half: b."
        )
    partner = Run(run.folder.parent / run.spec.partner, run.device)
    for key in ("dataset", "model", "train_size", "shuffle", "training"):
        if getattr(partner.spec, key) != getattr(run.spec, key):
            raise BenchError(
                f"{partner.folder} and {run.folder} differ in {key}; train both halves with the same options."
            )
    if partner.data_hash != run.data_hash:
        raise BenchError(f"{partner.folder} was trained on other data than {run.folder}; train it again.")
    return partner


def measure(run: Run, options: HalvesOptions) -> Measurement:
    """Compare half b (``run``) with half a; raises BenchError where half a is missing or differs, or K is too large."""
    partner = partner_of(run)
    if len(run.dataset.test) < options.images:
        raise BenchError(
            f"{run.spec.dataset} has {len(run.dataset.test)} test images, fewer than halves.images = "
            f"{options.images}; lower it."
        )
    found = Measurement(arrays={})
    protocol = f"partner={partner.spec.name};images={options.images};steps={options.steps}"
    for name, values in outputs_by_step(partner, run, options).items():
        for index, value in enumerate(values.mean(0)):
            found.add(f"halves_{name}_cosine", value, "test", "step", index, protocol)
        found.arrays[f"{name}_cosine"] = values.astype(np.float32)
    sampling = FrechetOptions(
        samples=options.samples, sampler=options.sampler, steps=options.sampling_steps, features="pixels"
    )
    drawn = [draw_samples(half, sampling) for half in (partner, run)]
    pairs = cosine(*(torch.from_numpy(images) for images in drawn))
    own = [most_similar(images, half) for images, half in zip(drawn, (partner, run))]
    protocol = f"partner={partner.spec.name};{protocol_of(sampling)}"
    found.add("halves_sample_cosine", pairs.mean(), protocol=protocol)
    found.add("halves_training_cosine", np.mean(own), protocol=protocol)
    found.arrays |= {"sample_cosine": pairs, "training_cosine_a": own[0], "training_cosine_b": own[1]}
    found.arrays |= {f"samples_{half}": images[:SHOWN] for half, images in zip("ab", drawn)}
    return found
