"""The forecast counts the jobs that Snakemake would run, and says where its hours come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.models import machine_costs
from bench.results.tidy import COLUMNS
from bench.suite import forecast, plan
from bench.suite.forecast import Forecast, Machine
from bench.support import paths
from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Machine(None, {"bfloat16": 100.0, "float32": 10.0}, 0.5)


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return plan.load("smoke")


def costs(macs=1e6):
    return {
        m: {"8x8x1": {"parameters": 1000, "macs": macs}} for m in ("dit-t16", "dit-t16-local", "unet-t16")
    }


def store_rates(suite, device, **rates):
    """Store a measured rate (images/s of 1e6 multiply-adds) for the runs of these models at N = 10."""
    rows = []
    for model, rate in rates.items():
        same = {
            "suite": suite.suite,
            "dataset": "disks-8",
            "model": model.replace("_", "-"),
            "train_size": 10,
        }
        rows.append(same | {"shuffle": 0, "metric": "macs", "value": 1e6})
        rows.append(
            same
            | {"shuffle": 0, "metric": "images_per_second", "value": rate, "protocol": f"device={device}"}
        )
    paths.tidy_file(suite.suite).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.tidy_file(suite.suite), index=False)


def test_without_counted_work_hours_are_unknown(smoke, capsys):
    assert main(["plan", "--suite", "smoke"]) == 0
    said = capsys.readouterr().out
    assert "disks-8.dit-t16.n10.s0\t30 steps" in said
    assert "unknown" in said and "`bench check --suite smoke` does" in said
    assert Forecast(smoke, MACHINE).rows["train"].unknown == 6


def test_stated_speed_gives_hours_from_multiply_adds(smoke):
    smoke.write(costs())
    found = Forecast(smoke, MACHINE).rows["train"]
    # six runs of 30 steps of 16 images, three passes of 1e6 multiply-adds; 10 TFLOP/s are 5e12 of these, half reached
    hours = 6 * 30 * 16 * 3 * 1e6 / (5e12 * 0.5) / 3600
    assert found.hours == pytest.approx(hours) and found.basis == {"stated": 6}
    assert (found.low, found.high) == pytest.approx((hours / forecast.STATED, hours * forecast.STATED))
    assert found.disk == 6 * 1000 * (32 + 4)


def test_rates_of_the_same_network_come_before_those_of_others(smoke):
    smoke.write(costs())
    store_rates(smoke, "GPU X (CUDA 1)", unet_t16=1000.0)
    assert Forecast(smoke, MACHINE).rows["train"].basis == {"stated": 6}  # of no device that was named
    found = Forecast(smoke, Machine("gpu x", {}, 1.0))
    assert found.device == "GPU X (CUDA 1)"
    assert found.rows["train"].basis == {"measured": 2, "measured on other networks": 4}
    assert found.rows["train"].hours == pytest.approx(6 * 30 * 16 / 1000 / 3600)


def test_costs_of_a_changed_preset_do_not_count(smoke):
    smoke.write(costs())
    written = json.loads(paths.plan_file("smoke").read_text())
    written["models"]["unet-t16"]["options"]["width"] = 7
    paths.plan_file("smoke").write_text(json.dumps(written))
    assert Forecast(smoke, MACHINE).rows["train"].unknown == 2


def test_an_unknown_device_is_one_sentence(smoke):
    with pytest.raises(BenchError, match="names none of the devices"):
        Forecast(smoke, Machine("h100", {}, 1.0))


@pytest.mark.workflow
def test_snakemake_counts_the_same_jobs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--suite", "smoke", "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["forecast"]["rules"]
    command = [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "-n", "--quiet", "all"]
    done = subprocess.run([*command, "--config", "suite=smoke"], capture_output=True, text=True, check=True)
    table = (done.stdout + done.stderr).split("Job stats:")[1].split("\n\n")[0]
    counted = {line.split()[0]: int(line.split()[1]) for line in table.splitlines()[3:]}
    assert {rule: row["jobs"] for rule, row in rules.items()} == {
        rule: count for rule, count in counted.items() if rule not in ("all", "total")
    }


def test_closed_forms_cost_beside_the_passes_of_the_network():
    suite = plan.load("kamb2025-small")
    run = suite.run("cifar10-16-grey.nf-unet-t16.n100.s0")
    large = suite.run("cifar10-16-grey.nf-unet-t16.n300.s0")
    for metric in ("patch_size", "agreement"):
        works = [forecast.work_beside(metric, one, 16, 1) for one in (run, large)]
        assert works[1] > 2.9 * works[0] > 0  # N images, and what does not depend on them
        assert forecast.passes(metric, run, 256) > 0
    assert forecast.work_beside("train", run, 16, 1) == 0


@pytest.mark.parametrize("machine", ["equivariant", "boundary-broken", "local"])
@pytest.mark.parametrize(("side", "patch"), [(8, 3), (8, 7), (7, 5)])
def test_pairs_of_places_are_those_that_the_machine_compares(machine, side, patch):
    from bench.metrics.numerics.machines import LOCAL
    from bench.models.local_score import groups

    found = groups(side, patch, LOCAL[machine], "centre")
    counted = sum(asked.shape[0] * asked.shape[1] * known.shape[1] for asked, known in found)
    assert machine_costs.pairs(machine, side, patch) == counted
