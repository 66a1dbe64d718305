"""Baselines are run again and compared: bit for bit on this machine, within a tolerance elsewhere."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench.cli import main
from bench.jobs import reproduce
from bench.results import baselines
from bench.results.tidy import COLUMNS, read_tidy
from bench.suite import config
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json

SUITE = """
title: One tiny run
training: {steps: 2, batch: 2, ema: 0.5}
measure: {psnr: {images: 2, steps: 2}}
runs: [{datasets: [disks-8], models: [unet-t16], train_sizes: [10]}]
"""
RUN = "disks-8.unet-t16.n10.s0"


def rows(**values: float) -> pd.DataFrame:
    """Rows of one run; a key with an underscore and a digit at its end is a row with an index."""
    table = []
    for key, value in values.items():
        metric, _, index = key.partition("__")
        table.append(
            dict.fromkeys(COLUMNS, "")
            | {"metric": metric, "value": value, "index_name": "step" if index else "", "index": index}
        )
    return pd.DataFrame(table)


@pytest.mark.parametrize(
    ("new", "same_kind", "differing", "agrees"),
    [
        ({"psnr_mean": 20.0, "frechet": 1.0, "images_per_second": 9.0}, True, 0, True),
        ({"psnr_mean": 20.0 + 1e-9, "frechet": 1.0}, True, 1, False),
        ({"psnr_mean": 20.4, "frechet": 1.09}, False, 2, True),
        ({"psnr_mean": 20.6, "frechet": 1.0}, False, 1, False),
        ({"psnr_mean": 20.0, "frechet": 1.2}, False, 1, False),
        ({"psnr_mean": 20.0}, False, 1, False),
        ({"psnr_mean": 20.0, "frechet": 1.0, "psnr__3": 30.0}, False, 1, False),
    ],
)
def test_agreement(new, same_kind, differing, agrees):
    old = rows(psnr_mean=20.0, frechet=1.0, images_per_second=5.0)
    found = reproduce.agreement("run", old, rows(**new), same_kind)
    assert (found.differing, found.agrees) == (differing, agrees)
    assert ("bit-equal" in str(found)) == (differing == 0) and ("DISAGREES" in str(found)) == (not agrees)


def test_single_steps_may_drift_elsewhere():
    old, new = rows(psnr_mean=20.0, psnr__1=30.0), rows(psnr_mean=20.1, psnr__1=33.0)
    assert reproduce.agreement("run", old, new, same_kind=False).agrees


def test_only_current_runs_are_drawn(suite):
    baselines.promote(suite)
    assert len(reproduce.sample(suite, 5, 0)) == 5
    assert reproduce.sample(suite, 3, 1) == reproduce.sample(suite, 3, 1)
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    for run in list(record["runs"])[1:]:
        record["runs"][run]["metrics"]["cost"]["code"]["train"] = "older"
    file.write_text(json.dumps(record))
    assert reproduce.sample(suite, 5, 0) == [next(iter(record["runs"]))]
    record["runs"][next(iter(record["runs"]))]["recipe"] = "other"
    file.write_text(json.dumps(record))
    with pytest.raises(BenchError, match="All stored baselines of suite 'grid' are out of date"):
        reproduce.sample(suite, 5, 0)


def in_this_process(place: reproduce._Place, *words: str) -> None:
    """Run a command of :mod:`bench.jobs.reproduce` without the seconds that a new process takes to import torch."""
    with contextlib.chdir(place.folder):
        assert main(list(words)) == 0


def test_a_command_that_fails_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="`bench table tab1 --suite demu` failed: Suite 'demu' was not"):
        reproduce._Place(tmp_path, None).bench("table", "tab1", "--suite", "demu")


def test_runs_again_bit_for_bit_and_finds_a_changed_number(tmp_path, monkeypatch, capsys):
    shutil.copytree(config.folder(), tmp_path / "config")
    (tmp_path / "config" / "suites" / "one.yaml").write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "build", "disks-8", "--workers", "1"]) == 0
    subset = str(paths.subset_file("disks-8", 0))
    assert main(["data", "subset", "results/datasets/disks-8", "--shuffle", "0", "--out", subset]) == 0
    for words in (["train", RUN], ["measure", "all", RUN]):
        assert main([*words, "--suite", "one", "--device", "cpu"]) == 0
    for file in Path("results/one/runs", RUN).glob("*.json"):
        file.write_text(file.read_text().replace('"dirty": true', '"dirty": false'))
    assert main(["baselines", "promote", "--suite", "one"]) == 0
    assert main(["tidy", "--suite", "one"]) == 0
    assert main(["baselines", "diff", "--suite", "one"]) == 0
    monkeypatch.setattr(reproduce._Place, "bench", in_this_process)
    again = ["reproduce", "--suite", "one", "--sample", "1", "--device", "cpu"]
    assert main(again) == 0
    assert f"{RUN}: bit-equal" in capsys.readouterr().err
    file = paths.baselines_folder("one") / "provenance.json"
    file.write_text(file.read_text().replace(read_json(file)["runs"][RUN]["train"]["code"], "of moved code"))
    assert main(["baselines", "verify", "--suite", "one"]) == 1
    assert main([*again, "--accept"]) == 0
    assert main(["baselines", "verify", "--suite", "one"]) == 0
    file = paths.baseline_table("one")
    table = read_tidy(file)
    table.loc[table["metric"] == "psnr_gap_mean", "value"] += 1e-7
    table.to_csv(file, index=False)
    assert main(again) == 1
    assert f"{RUN}: DISAGREES, 1 of" in capsys.readouterr().err
    file = (
        paths.baselines_folder("one") / "provenance.json"
    )  # a processor of this name with other instructions
    own = torch.backends.cpu.get_cpu_capability()
    file.write_text(file.read_text().replace(f'"cpu_capability": "{own}"', '"cpu_capability": "other"'))
    assert main(again) == 0
    assert "another kind of machine" in capsys.readouterr().err
    assert main(["reproduce", "--suite", "one", "--sample", "0"]) == 2
