"""A suite's stored measurements without any training: plausible numbers for every planned run."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from bench.models.families import CONTROLS
from bench.results.tidy import COLUMNS, METRICS
from bench.suite import plan
from bench.support import paths


def make(suite: str, arrays: bool = True) -> plan.Plan:
    """Write the plan, the tidy table and (optionally) the arrays of ``suite`` into the current folder."""
    loaded = plan.load(suite)
    loaded.write()
    rows = [row for run in loaded.runs.values() for row in _rows(run, loaded.datasets[run.dataset])]
    table = pd.DataFrame(rows)[COLUMNS]
    table["index"] = table["index"].astype("Int64")
    table.to_csv(paths.tidy_file(suite), index=False)
    if arrays:
        for name, run in loaded.runs.items():
            _arrays(paths.arrays_folder(suite, name), run, loaded.datasets[run.dataset])
    return loaded


def _curves(run) -> tuple[np.ndarray, np.ndarray]:
    """Train and test PSNR in dB per step index: a wide gap at small N that closes as N grows."""
    steps = run.measure.psnr.steps
    x = np.arange(steps) * 50 / steps
    ideal = 12 + 34 * np.exp(-x / 11)
    strength = 1 / (1 + (run.train_size / 2000) ** 0.8)
    strength *= 1.3 if run.model.family == "unet" else 0.85 if run.model.options.get("windows") else 1.0
    wobble = 0.3 * np.sin(zlib.crc32(f"{run.name}".encode()) % 97)
    bump = np.exp(-(((x - 12) / 10) ** 2))
    return ideal + 14 * strength * bump + wobble, ideal - 4 * strength * bump + wobble / 2


def _rows(run, dataset):
    def row(metric, value, split="", index_name="", index=None, protocol=""):
        same = {key: getattr(run, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
        return same | {
            "model": run.model.name, "metric": metric, "value": float(value), "split": split, "index_name": index_name,
            "index": index, "protocol": protocol, "unit": METRICS[metric][0], "code": "c", "data_hash": "d",
        }  # fmt: skip

    if run.measure.psnr is not None:
        yield from _psnr(row, run)
    for name in ("parameters", "macs"):
        yield row(name, (14_273_034 if name == "parameters" else 9.4e9) * (run.model.family not in CONTROLS))
    for step in np.linspace(1, run.training.steps, 20).astype(int):
        yield row("training_loss", 0.9 / (1 + step / 30) + strength_of(run) / 50, "train", "step", step)
    yield from _measured(row, run)


def _psnr(row, run):
    train, test = _curves(run)
    gap = np.maximum(train - test, 0)
    for band, part in enumerate(np.array_split(test, 5), start=1):
        yield row("psnr_band", part.mean(), "test", "band", band)
        yield row("skill_band", 0.5 - band / 10, "test", "band", band)
    yield row("skill_mean", 0.2, "test")
    protocol = f"images={run.measure.psnr.images};steps={len(train)};clip=true"
    for metric, split, curve in (
        ("psnr", "train", train),
        ("psnr", "test", test),
        ("psnr_gap", "train-test", gap),
    ):
        yield from (row(metric, v, split, "step", i, protocol) for i, v in enumerate(curve))
        yield row(f"{metric}_mean", curve.mean(), split, protocol=protocol)


def strength_of(run) -> float:
    """How much a run memorises, 0 to 1: falls with N, less where windows are local."""
    local = 0.8 if run.model.options.get("windows") else 1.0
    return local / (1 + (run.train_size / 200) ** 0.8)


def _measured(row, run):
    measure, strength = run.measure, strength_of(run)
    if measure.frechet is not None:
        gap = np.maximum(np.subtract(*_curves(run)), 0).mean()
        inception = measure.frechet.features == "inception"
        for metric, value in (
            (("fid", 1), ("kid", 0.01)) if inception else (("frechet", 1), ("kernel_distance", 0.01))
        ):
            value *= 2 + 9 * gap / (1 + gap)
            yield row(metric, value, protocol=f"features={measure.frechet.features}")
    if measure.memorization is not None:
        for split, share in (("", strength), ("test", 0.01)):
            protocol = "samples=16;space=pixels;images=16;ratio=0.3333;mirrored=false"
            yield row("memorized_share", share, split, protocol=protocol)
            yield row("nearest_distance", 20 - 15 * share, split, protocol=protocol)
            yield row("nearest_ratio", 1 - share, split, protocol=protocol)
    if measure.halves is not None and run.half == "b":
        for step in range(measure.halves.steps):
            yield row("halves_x0_cosine", 1 - strength * step / 20, "test", "step", step)
        yield row("halves_sample_cosine", 1 - strength)
        yield row("halves_training_cosine", 0.3 + 0.6 * strength)
    if measure.along is not None:
        for level in (15, 16, *([17] if run.model.name == "dit-t16" else [])):
            yield row("gap_at_train_psnr", level / 10 + strength, "train-test", "train_psnr", level)
        for step in sorted({*run.training.kept, run.training.steps}):
            for split in ("train", "test"):
                yield row("along_psnr_mean", 15 + step / 200, split, "training_step", step)
            for layer in (1, 3):
                where = f"images=2;layer={layer}"
                yield row(
                    "along_attention_distance",
                    3 - step / 500 + layer / 9,
                    "test",
                    "training_step",
                    step,
                    where,
                )
    yield from _closed_forms(row, measure, strength)
    if measure.slope is not None:
        yield row("psnr_slope", 0.6 - strength / 10, "test", protocol="between=5,30")
        yield row("psnr_slope_optimal", 0.67, "test", protocol="between=5,30")
    if measure.jacobian is not None:
        yield from _jacobian(row, measure.jacobian, strength)
    if measure.attention is not None and run.model.family in ("dit", "unet"):
        for layer in range(1, run.model.options.get("depth", 1) + 1):
            for metric, value in (
                ("distance", 2 + strength),
                ("entropy", 3.0),
                ("mass_w3", 0.5 - strength / 3),
            ):
                yield row(f"attention_{metric}", value + layer / 20, "test", "layer", layer, "images=2")


def _closed_forms(row, measure, strength):
    """Patches that grow with noise; agreement with the ideal denoiser that falls with N."""
    if measure.patch_size is not None:
        for name in measure.patch_size.machines:
            for step in range(10):
                yield row("patch_size", 3 + 2 * (step // 2), name, "step", step, "noises=10;steps=10")
                yield row("patch_size_cosine", 0.99, name, "step", step, "noises=10;steps=10")
    for name in measure.agreement.machines if measure.agreement else ():
        value = {"ideal": strength, "linear": 0.5}.get(name, 0.9 - strength / 3)
        where = "noises=20;steps=10;sampler=ddim"
        for metric, number in (("correlation", value), ("r2", value**2), ("mse", 1 - value)):
            yield row(f"agreement_sample_{metric}", number, name, protocol=where)
            yield from (
                row(f"agreement_{metric}", number - k / 99, name, "step", k, where) for k in range(10)
            )
        if name != "ideal":
            yield row("agreement_beats_ideal", float(value > strength), name, protocol=where)


def _jacobian(row, options, strength):
    """Spectra that fall, and shapes of the leading eight eigenvectors, at every noise level."""
    for operator in options.operators:
        for step in options.step_indices:
            where = f"operator={operator};step={step};image=0;values=all;sigma={0.05 * (step + 1):.4g}"
            k = np.arange(16)
            values = np.exp(-k / (2 + step)) if operator != "eps" else 3 * (1 - np.exp((k - 16) / 4))
            yield from (row("jacobian_eigenvalue", v, "test", "k", i, where) for i, v in enumerate(values))
            yield row("jacobian_asymmetry", 0.1, "test", protocol=where)
            for metric, value in (
                ("participation", 0.4), ("frequency", 1.0), ("overlap_pca", 0.8), ("overlap_dct", 0.6),
                ("train_share", strength),
            ):  # fmt: skip
                metric = f"jacobian_{metric}"
                yield from (row(metric, value * (1 - 0.03 * i), "test", "k", i, where) for i in range(8))


def _arrays(folder, run, dataset) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(run.name.encode()))
    side, channels, measure = dataset.resolution, dataset.channels, run.measure
    if measure.jacobian is not None:
        options, step = measure.jacobian, measure.jacobian.step_indices[0]
        image = np.linspace(40, 220, side * side * channels).reshape(1, side, side, channels)
        noisy = np.clip(image + 40 * rng.standard_normal(image.shape), 0, 255)
        count = options.leading or side * side * channels
        y, x = np.mgrid[:side, :side] * np.pi / side
        waves = [
            np.sin((k + 1) * x + rng.random()) * np.cos((k + 1) * y) for k in range(len(options.vectors))
        ]
        vectors = np.stack([np.stack([w * (0.4 + 0.3 * c) for c in range(channels)], -1) for w in waves])
        np.savez(
            folder / "jacobian.npz", images=image.astype(np.uint8), vectors=np.array(options.vectors),
            **{f"noisy_{step}": noisy.astype(np.uint8)},
            **{f"eigenvalues_{o}_{step}_0": 5 * np.exp(-5 * np.arange(count) / count) for o in options.operators},
            **{f"eigenvectors_{o}_{step}_0": vectors for o in options.operators},
        )  # fmt: skip
    if measure.attention is not None and run.model.family == "dit":
        grid = side // run.model.options.get("patch", 2)
        depth = run.model.options.get("depth", 12)
        place = np.stack(np.divmod(np.arange(grid * grid), grid), -1)
        distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
        spread = 1 + 30 / run.train_size
        maps = np.stack([np.exp(-distance / spread / (1 + 0.2 * layer)) for layer in range(depth)])
        maps = maps * (0.2 + rng.random(maps.shape))
        np.savez(
            folder / "attention.npz", maps=maps / maps.sum(-1, keepdims=True), layers=np.arange(1, depth + 1),
            windows=np.zeros(depth, int), grid=np.array([grid, grid]), token=np.array(grid * grid // 2 + grid // 3),
        )  # fmt: skip
    if measure.psnr is not None:
        steps = np.arange(measure.psnr.steps)
        np.savez(folder / "psnr.npz", sigma=0.01 * np.exp(steps * 8 / len(steps)))
    if measure.memorization is not None:
        images = rng.integers(0, 256, (16, side, side, channels), dtype=np.uint8)
        np.savez(folder / "samples.npz", samples=images)
        np.savez(folder / "memorization.npz", nearest_samples_pixels=images[::-1])
    if measure.agreement is not None:
        names = ["network", *measure.agreement.machines]
        images = rng.integers(0, 256, (8, side, side, channels), dtype=np.uint8)
        np.savez(folder / "agreement.npz", **{f"samples_{name}": images for name in names})
