"""Storing the measurements of a suite, and saying which would still be reproduced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from stored import PLACE, SUITE, candidate, finish

from bench.cli import main
from bench.results import baselines, staleness
from bench.results.tidy import read_tidy
from bench.suite import plan
from bench.support import git, paths
from bench.support.errors import BenchError
from bench.support.files import read_json

RUN = "disks-8.dit-t16.n10.s0"


def test_promotes_every_row_with_its_provenance_and_no_host(suite):
    assert baselines.promote(suite) == []
    folder = paths.baselines_folder("grid")
    table, record = read_tidy(paths.baseline_table("grid")), baselines.stored("grid")
    assert len(table) == len(suite.runs) * 10 and set(record["runs"]) == set(suite.runs)
    made = record["runs"][RUN]
    assert made["train"]["code"] == suite.code("train", RUN) and made["train"]["date"] == PLACE["date"]
    assert set(made["metrics"]) == {"psnr", "samples", "frechet", "memorization", "attention", "cost"}
    assert "secret" not in (folder / "provenance.json").read_text()
    assert len(record["environments"]) == 1
    assert np.load(folder / "arrays" / RUN / "samples.npz")["samples"].shape == (16, 8, 8, 1)
    other = folder / "arrays" / RUN.replace("s0", "s2")
    assert (other / "psnr.npz").exists() and (other / "samples.npz").exists()


def test_pictures_of_the_first_shuffle_alone_are_stored(suite):
    other = RUN.replace("s0", "s2")
    for run in (RUN, other):
        np.savez(paths.arrays_folder("grid", run) / "attention.npz", maps=np.ones(4))
    baselines.promote(suite)
    assert (paths.baseline_arrays("grid", RUN) / "attention.npz").exists()
    assert not (paths.baseline_arrays("grid", other) / "attention.npz").exists()


def test_nothing_that_shows_images_of_a_protected_dataset(suite):
    row = suite.all_datasets["disks-8"]
    object.__setattr__(row, "redistribute", False)
    np.savez(
        paths.arrays_folder("grid", RUN) / "attention.npz", images=np.zeros(1), noisy_1=np.zeros(1),
        eigenvectors_x0_1_0=np.zeros(1), eigenvalues_x0_1_0=np.ones(1), other=np.zeros((8, 8, 1), np.uint8),
    )  # fmt: skip
    baselines.promote(suite)
    folder = paths.baseline_arrays("grid", RUN)
    assert list(np.load(folder / "attention.npz")) == ["eigenvalues_x0_1_0"]
    assert not (folder / "samples.npz").exists()


def test_a_machine_without_git_is_vouched_for_by_the_fingerprint(suite, monkeypatch):
    finish(suite, RUN, 9.0, place=PLACE | {"git": {"commit": None, "dirty": None}})
    here = {"commit": "c0ffeebeef", "dirty": False}
    monkeypatch.setattr(git, "state", lambda: here)
    baselines.promote(suite)
    gits = [e["git"] for e in baselines.stored("grid")["environments"]]
    assert here | {"found_by": "fingerprint"} in gits
    here["dirty"] = True
    with pytest.raises(BenchError, match="uncommitted code"):
        baselines.promote(suite)


ELSEWHERE = {"commit": None, "dirty": None, "reason": "the code lies inside another project's git repository"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"commit": "c0ffee", "dirty": True}, "uncommitted code"),
        (None, "uncommitted code"),
        ({"commit": "beef" * 10, "dirty": False}, "commit beefbeefb, which this repository does not have"),
        (ELSEWHERE, "uncommitted code .the code lies inside another project's git repository."),
    ],
)
def test_refuses_code_that_no_commit_holds_and_keeps_what_was_there(suite, monkeypatch, place, message):
    baselines.promote(suite)
    before = paths.baseline_table("grid").read_bytes()
    monkeypatch.setattr(git, "state", lambda: ELSEWHERE)
    finish(suite, RUN, 9.0, place=PLACE | {"git": place})
    with pytest.raises(BenchError, match=message):
        baselines.promote(suite)
    assert paths.baseline_table("grid").read_bytes() == before
    assert [f.name for f in paths.baselines_folder("grid").parent.iterdir()] == ["grid"]


def test_refuses_a_training_with_other_options(suite):
    Path("config/suites/grid.yaml").write_text(SUITE.replace("steps: 100", "steps: 101"))
    with pytest.raises(BenchError, match="trained with other options than suite 'grid' has now"):
        baselines.promote(plan.load("grid"))


def test_refuses_rows_that_do_not_say_what_made_them(suite):
    file = paths.measured_files("grid", RUN)[1]
    made = json.loads(file.read_text())
    made["psnr"]["depends"]["code"]["psnr"] = "other"
    file.write_text(json.dumps(made))
    with pytest.raises(BenchError, match=f"bench measure all {RUN}"):
        baselines.promote(suite)
    del made["psnr"]
    file.write_text(json.dumps(made))
    with pytest.raises(BenchError, match="measurements.json lacks psnr"):
        baselines.promote(suite)


def test_finished_runs_are_stored_and_the_rest_is_added_later(suite, monkeypatch):
    unfinished = [run for run in suite.runs if not run.endswith("s0")]
    tables = {run: paths.measured_files("grid", run)[0] for run in unfinished}
    texts = {run: file.read_bytes() for run, file in tables.items()}
    for file in tables.values():
        file.unlink()
    assert baselines.promote(suite) == unfinished
    stored = read_json(paths.baselines_folder("grid") / "plan.json")["runs"]
    assert [run["name"] for run in stored] == [run for run in suite.runs if run.endswith("s0")]
    # elsewhere: the runs stored so far are not here
    for run in suite.runs:
        (
            tables[run].write_bytes(texts[run])
            if run in unfinished
            else paths.measured_files("grid", run)[0].unlink()
        )
    assert baselines.promote(suite) == []
    pieces = paths.baseline_table("grid").read_bytes()
    assert set(baselines.stored("grid")["runs"]) == set(suite.runs)
    assert (paths.baseline_arrays("grid", RUN) / "samples.npz").exists()
    shutil.rmtree(paths.baselines_folder("grid"))
    for name, run in suite.runs.items():
        finish(suite, name, gap=1.0 + (run.model.name == "unet-t16") + 0.01 * run.shuffle)
    baselines.promote(suite)
    assert paths.baseline_table("grid").read_bytes() == pieces


def test_what_a_suite_no_longer_measures_goes_from_the_runs_that_stay(suite):
    baselines.promote(suite)
    paths.measured_files("grid", RUN)[0].unlink()  # stored, and not here
    Path("config/suites/grid.yaml").write_text(SUITE.replace("  attention: {}\n", ""))
    table = baselines.run_names(before := read_tidy(paths.baseline_table("grid")))
    assert (before[table == RUN]["metric"] == "attention_distance").any()
    fewer = plan.load("grid")
    for name in fewer.runs:
        if name != RUN:
            finish(fewer, name, gap=1.0)
    baselines.promote(fewer)
    after = read_tidy(paths.baseline_table("grid"))
    assert not after["metric"].str.startswith("attention").any()
    assert {*after["metric"]} == {m for m in before["metric"] if not m.startswith("attention")}
    assert set(staleness.status(fewer).values()) == {""}


def test_pieces_of_two_versions_of_a_dataset_are_refused(suite):
    baselines.promote(suite)
    for run in suite.runs:
        paths.measured_files("grid", run)[0].unlink()
    with pytest.raises(BenchError, match="No run of suite 'grid' is finished"):
        baselines.promote(suite)
    finish(suite, RUN, 1.0, data="e" * 64)
    with pytest.raises(BenchError, match="different versions of disks-8"):
        baselines.promote(suite)


def test_a_model_file_outside_the_project_is_uncommitted_code(suite, monkeypatch, tmp_path):
    candidate(monkeypatch, tmp_path)
    with_candidate = plan.load("grid")
    for run in with_candidate.runs:
        finish(with_candidate, run, 1.0)
    with pytest.raises(BenchError, match="my_model.py is not committed in this project"):
        baselines.promote(with_candidate)


def test_verify_names_what_is_stale(suite, capsys):
    baselines.promote(suite)
    assert set(staleness.status(suite).values()) == {""}
    assert main(["baselines", "verify", "--suite", "grid"]) == 0
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    record["runs"][RUN]["metrics"]["psnr"]["code"]["train"] = "older"
    file.write_text(json.dumps(record))
    assert staleness.status(suite)[RUN, "psnr"] == "code of train changed"
    assert main(["baselines", "verify", "--suite", "grid"]) == 1
    assert f"{RUN}\tpsnr\tcode of train changed" in capsys.readouterr().out


def test_changed_options_are_stale(suite):
    baselines.promote(suite)
    file = Path("config/suites/grid.yaml")
    file.write_text(SUITE.replace("steps: 100", "steps: 101").replace("images: 6", "images: 5"))
    changed = plan.load("grid")
    found = staleness.status(changed)
    assert found[RUN, "psnr"] == "training options changed, psnr options changed"
    assert found[RUN, "cost"] == "training options changed"
    assert staleness.accept(changed) > 0  # shown to give the same numbers
    assert set(staleness.status(changed).values()) == {""} == set(staleness.status(suite).values())
    assert staleness.accept(changed) == 0


def test_show_and_diff(suite, capsys):
    baselines.promote(suite)
    assert main(["baselines", "show", "--suite", "grid"]) == 0
    assert f"{RUN}\t{PLACE['date']}\ta cpu\ttorch 2.0\tcommit c0ffeec0f" in capsys.readouterr().out
    finish(suite, RUN, gap=1.5)
    from bench.results.tidy import combine

    combine(
        [paths.measured_files("grid", run)[0] for run in suite.runs],
        paths.tidy_file("grid"),
    )
    found = baselines.difference("grid").set_index("metric")
    assert found.loc["psnr_gap_mean", "largest_change"] == pytest.approx(0.5)
    assert found.loc["psnr_gap_mean", "where"] == RUN
    assert found.loc["parameters", "largest_change"] == 0 and found["baseline_only"].sum() == 0


def test_a_suite_without_baselines(suite, capsys):
    assert main(["baselines", "show", "--suite", "grid"]) == 1
    assert "has no stored baselines (there are: none)" in capsys.readouterr().err
