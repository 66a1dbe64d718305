"""Finished runs without any training: files as `bench train` and `bench measure` leave them, with chosen numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from bench.results.tidy import COLUMNS, METRICS
from bench.suite import plan
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.files import digest, write_json, write_text
from bench.support.options import to_dict

SUITE = """
title: A grid to compare on
training: {steps: 100, batch: 4}
measure:
  psnr: {images: 6, steps: 5}
  samples: {count: 8}
  frechet: {features: random-conv}
  memorization: {features: random-conv}
  attention: {}
runs:
  - {datasets: [disks-8], models: [dit-t16, unet-t16], train_sizes: [10, 100], shuffles: [0, 1, 2]}
items:
  fig2: {}
"""
MODEL = """
import torch
from bench.models.registry import register_model


@register_model("mine")
def mine(image_size: int, channels: int, width: int = 8) -> torch.nn.Module:
    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x, t, y=None):
            return self.inner(x)

    return Mine()
"""
PLACE = {
    "date": "2026-01-02T03:04:05+00:00", "host": "secret", "machine": "Linux x86_64", "cpu": "a cpu", "cores": 2,
    "device": "cpu", "versions": {"torch": "2.0"}, "git": {"commit": "c0ffee" * 6, "dirty": False}, "slurm": {},
}  # fmt: skip


def finish(
    suite: plan.Plan, run: str, gap: float, test: float = 20.0, place: dict = PLACE, data: str = "d" * 64
) -> None:
    """Write the files of one run with this mean PSNR gap and test PSNR, in dB."""
    spec, folder = suite.run(run), paths.run_folder(suite.suite, run)
    code = {"fingerprint": suite.code("train", run), "definitions": {}}
    record = {"spec": to_dict(spec), "code": code, "data": {"sha256": data}, "result": {"seconds": 1.0}}
    write_json(folder / "run.json", record | {"provenance": place})
    protocol = f"images={spec.measure.psnr.images};steps={spec.measure.psnr.steps};clip=true"
    values = {
        "psnr": [("psnr_mean", "train", test + gap, protocol), ("psnr_mean", "test", test, protocol),
                 ("psnr_gap_mean", "train-test", gap, protocol)],
        "frechet": [("frechet", "", 3.0 + gap, "features=random-conv")],
        "memorization": [("memorized_share", "", 0.1 * gap, "space=pixels;images=8"),
                         ("memorized_share", "", 0.5, "space=random-conv;images=8"),
                         ("memorized_share", "test", 0.0, "space=pixels;images=8")],
        "attention": [("attention_distance", "test", 1.0 + gap, "images=4")],
        "cost": [("parameters", "", 1000.0, ""), ("macs", "", 5000.0, "")],
    }  # fmt: skip
    table_file, records_file = paths.measured_files(suite.suite, run)
    tables, records = [], {}
    for metric in suite.metrics(run):
        codes, options = suite.codes(metric, run), getattr(spec.measure, metric, None)
        depends = {"code": codes, "options": to_dict(options) if options else None, "data": data}
        records[metric] = {"depends": depends, "provenance": place}
        table = pd.DataFrame(values.get(metric, []), columns=["metric", "split", "value", "protocol"])
        tables.append(table.assign(code=digest(codes), unit=[METRICS[m].unit for m in table["metric"]]))
    same = {k: getattr(spec, k) for k in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    whole = pd.concat([t for t in tables if len(t)])
    whole = whole.assign(**same, model=spec.model.name, index_name="", index=None, data_hash=data)
    write_json(records_file, records)
    write_text(table_file, whole.reindex(columns=COLUMNS).to_csv(index=False))
    arrays = paths.arrays_folder(suite.suite, run)
    wobble = np.linspace(-0.2, 0.2, 6)[:, None] * np.ones(5)
    save_arrays(arrays / "psnr.npz", train=test + gap + wobble, test=test - wobble)
    save_arrays(arrays / "samples.npz", samples=np.zeros((20, 8, 8, 1), np.uint8))


def candidate(monkeypatch, folder, **more) -> None:
    """Name the model of ``my_model.py`` as the candidate."""
    (folder / "my_model.py").write_text(MODEL)
    monkeypatch.setenv("BENCH_MODEL", json.dumps({"model": "my_model.py:mine", **more}))
