"""What lies here says itself whether it was made as it is planned now."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import records
from bench.suite import plan
from bench.support import paths
from bench.support.files import read_json, write_json
from bench.support.options import to_dict

RUN = "disks-8.dit-t16.n10.s0"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """The suite `smoke` with records as its jobs would leave them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_MODEL", "")
    suite = plan.load("smoke")
    made = {"made": to_dict(suite.all_datasets["disks-8"]), "code": suite.code("dataset"), "sha256": "d"}
    write_json(paths.dataset_folder("disks-8") / "manifest.json", made)
    for pool in ("train", "validation", "test"):
        (paths.dataset_folder("disks-8") / f"{pool}.npy").touch()
    code = {"fingerprint": suite.code("train", RUN)}
    trained = {"spec": to_dict(suite.run(RUN)), "code": code, "data": {"sha256": "d"}}
    write_json(paths.run_folder("smoke", RUN) / "run.json", trained)
    taken = {}
    for metric in suite.metrics(RUN):
        options = getattr(suite.run(RUN).measure, metric, None)
        depends = {
            "code": suite.codes(metric, RUN),
            "options": to_dict(options) if options else None,
            "data": "d",
        }
        taken[metric] = {"depends": depends}
    write_json(paths.measured_files("smoke", RUN)[1], taken)
    paths.measured_files("smoke", RUN)[0].touch()
    suite.write({"dit-t16": {}})
    return suite


def edit(file: Path, change) -> None:
    record = read_json(file)
    change(record)
    write_json(file, record)


def test_what_was_made_as_planned(suite):
    assert records.dataset(suite, "disks-8") and records.planned(suite)
    assert records.trained(suite, RUN) and records.measured(suite, RUN)
    assert records.dataset(suite, "disks-16") and records.trained(suite, "disks-8.unet-t16.n10.s0")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("dataset", lambda r: r["made"].update(test=32)),
        ("dataset", lambda r: r.update(code="0")),
        ("planned", lambda r: r.update(title="another")),
        ("planned", lambda r: r["models"]["dit-t16"].update(label="another")),
        ("trained", lambda r: r["spec"]["training"].update(steps=31)),
        ("trained", lambda r: r["spec"]["training"].update(unknown=1)),
        ("trained", lambda r: r["code"].update(fingerprint="0")),
        ("trained", lambda r: r["data"].update(sha256="e")),
        ("measured", lambda r: r["psnr"]["depends"]["options"].update(images=9)),
        ("measured", lambda r: r["psnr"]["depends"]["code"].update(psnr="0")),
        ("measured", lambda r: r.pop("cost")),
        ("measured", lambda r: r["cost"]["depends"].update(data="e")),
    ],
)
def test_what_was_made_otherwise(suite, kind, change):
    files = {
        "dataset": paths.dataset_folder("disks-8") / "manifest.json",
        "planned": paths.plan_file("smoke"),
        "trained": paths.run_folder("smoke", RUN) / "run.json",
        "measured": paths.measured_files("smoke", RUN)[1],
    }
    arguments = {"dataset": ["disks-8"], "planned": []}.get(kind, [RUN])
    edit(files[kind], change)
    assert not getattr(records, kind)(suite, *arguments)
    files[kind].write_text("not JSON")
    assert not getattr(records, kind)(suite, *arguments)
