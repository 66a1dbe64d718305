"""A suite's stored measurements without any training: plausible numbers for every planned run."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from bench import paths, plan
from bench.tidy import COLUMNS, METRICS


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
            _arrays(paths.run_folder(suite, name), run, loaded.datasets[run.dataset])
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

    train, test = _curves(run)
    gap = np.maximum(train - test, 0)
    protocol = f"images={run.measure.psnr.images};steps={len(train)};clip=true"
    for metric, split, curve in (
        ("psnr", "train", train),
        ("psnr", "test", test),
        ("psnr_gap", "train-test", gap),
    ):
        yield from (row(metric, v, split, "step", i, protocol) for i, v in enumerate(curve))
        yield row(f"{metric}_mean", curve.mean(), split, protocol=protocol)
    for name in ("parameters", "macs"):
        yield row(name, 14_273_034 if name == "parameters" else 9.4e9)
    measure = run.measure
    if measure.frechet is not None:
        metric = "fid" if measure.frechet.features == "inception" else "frechet"
        yield row(
            metric, 2 + 9 * gap.mean() / (1 + gap.mean()), protocol=f"features={measure.frechet.features}"
        )
    if measure.jacobian is not None:
        for operator in measure.jacobian.operators:
            where = f"operator={operator};step=7;image=0"
            yield from (row("jacobian_eigenvalue", 1 / (k + 1), "test", "k", k, where) for k in range(4))
            yield row("jacobian_asymmetry", 0.1, "test", protocol=where)
    if measure.attention is not None and run.model.family == "dit":
        for layer in range(1, run.model.options.get("depth", 12) + 1):
            yield row("attention_distance", 2.0, "test", "layer", layer, "images=2")


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
