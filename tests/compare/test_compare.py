"""A candidate against stored baselines: pairing, verdicts, notes, and bad input in one sentence."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from stored import MODEL, candidate, finish

from bench.cli import main
from bench.compare import pages
from bench.compare.compare import UNPROVEN, compare
from bench.compare.gather import candidate_runs, gather
from bench.compare.picture import draw
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.results import baselines
from bench.results.measures import GAP, TEST
from bench.results.training_state import Word
from bench.suite import plan
from bench.support import paths
from bench.support.errors import BenchError


def compared(suite, monkeypatch, tmp_path, gap=0.5, test=20.0, **more):
    baselines.promote(suite)
    candidate(monkeypatch, tmp_path, **more)
    with_candidate = plan.load("grid")
    for name in candidate_runs(with_candidate):
        finish(with_candidate, name, gap + 0.02 * with_candidate.run(name).shuffle, test)
    return with_candidate


def test_candidate_runs_are_the_grid_of_the_suite(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path, training={"learning_rate": 0.01}, options={"width": 4})
    assert candidate_runs(found) == [f"disks-8.mine.n{n}.s{s}" for n in (10, 100) for s in range(3)]
    run = found.run("disks-8.mine.n10.s0")
    assert run.training.learning_rate == 0.01 and run.training.steps == 100
    assert run.model.file == "my_model.py" and run.model.options == {"width": 4}


def test_first_the_pooled_answer_then_the_cells(suite, monkeypatch, tmp_path):
    found = compare(gather(compared(suite, monkeypatch, tmp_path)))
    pooled = found.pooled.set_index(["metric", "baseline"])
    gap = pooled.loc[GAP, "unet-t16"]
    assert gap["count"] == 3 and gap["verdict"] == "better"  # three shuffles of one dataset, N averaged
    ratios = [math.log((0.5 + 0.02 * s) / (2 + 0.01 * s)) for s in range(3)]
    assert gap["difference"] == pytest.approx(sum(ratios) / 3)
    assert pooled.loc[TEST, "unet-t16"]["verdict"] == "equal"
    cells = found.cells[(found.cells["baseline"] == "unet-t16") & (found.cells["train_size"] == 10)]
    cells = cells.set_index("metric")
    assert cells.loc[GAP, "difference"] == pytest.approx(sum(ratios) / 3)
    assert cells.loc[GAP, "low"] < cells.loc[GAP, "difference"] < cells.loc[GAP, "high"] < 0
    assert cells.loc[GAP, "verdict"] == "better" and math.isnan(cells.loc[GAP, "image_low"])
    assert cells.loc[TEST, "image_low"] <= 0 <= cells.loc[TEST, "image_high"]
    # the features' share ties, the pixels' differs; they are never averaged
    assert cells.loc["memorized_share:pixels", "difference"] == pytest.approx(-0.149)
    assert cells.loc["memorized_share:random-conv", "verdict"] == "equal"
    assert cells.loc["attention_distance", "verdict"] == "lower"
    assert found.notes == [] and set(found.cells["stale"]) == {""}


def test_the_candidate_is_trained_like_the_first_run_of_each_cell(suite, monkeypatch, tmp_path):
    candidate(monkeypatch, tmp_path, training={"batch": 8})
    found = plan.load("families")
    for name in candidate_runs(found):
        own = found.run(name)
        cell = (own.dataset, own.train_size, own.shuffle)
        first = next(r for r in found.runs.values() if (r.dataset, r.train_size, r.shuffle) == cell)
        assert own.training == dataclasses.replace(first.training, batch=8)


def test_the_gap_at_equal_train_psnr_is_that_of_claims(suite, monkeypatch, tmp_path):
    """Where the two have the same train PSNR, the lower of the two largest, linear between checkpoints."""
    evidence = gather(compared(suite, monkeypatch, tmp_path))

    def along(table, checkpoints):
        rows = table[table["metric"] == GAP]
        parts = [table, rows.assign(metric="gap_at_train_psnr")]
        for step, (train, gap) in enumerate(checkpoints):
            at_step = rows.assign(index_name="training_step", index=step)
            parts += [at_step.assign(metric="along_psnr_mean", split="train", value=train)]
            parts += [at_step.assign(metric="along_psnr_gap_signed_mean", value=gap)]
        return pd.concat(parts)

    new = along(evidence.new, [(20.0, 1.0), (21.0, 2.0)])
    old = along(evidence.old, [(20.0, 2.0), (22.0, 14.0), (23.0, 15.0)])
    found = compare(dataclasses.replace(evidence, new=new, old=old)).cells
    gaps = found[found["metric"] == "gap_at_train_psnr"]
    assert len(gaps) == 4 and gaps["difference"].to_numpy() == pytest.approx(math.log(2 / 8))
    assert set(gaps["candidate"]) == {2.0} and set(gaps["stored"]) == {8.0}


def test_the_page_has_the_candidates_curve_beside_the_stored_ones(suite, monkeypatch, tmp_path):
    evidence = gather(compared(suite, monkeypatch, tmp_path))

    def at_steps(table, values):
        rows = table[table["metric"] == TEST].assign(metric="along_psnr_mean", index_name="training_step")
        both = [
            rows.assign(index=step, value=value, split=s)
            for step, value in values.items()
            for s in ("test", "validation")
        ]
        return pd.concat([table, *both])

    new, old = (
        at_steps(evidence.new, {25: 11.0, 50: 12.0, 100: 13.0}),
        at_steps(evidence.old, {38: 14.0, 75: 15.0}),
    )
    found = compare(dataclasses.replace(evidence, new=new, old=old))
    lines = pages.page(found, *pages.tables(found)).splitlines()
    place = lines.index("## Along training")
    assert (
        lines[place + 2].startswith("Validation PSNR (dB)")
        and "`bench figure figA15 --suite grid`" in lines[place + 2]
    )
    assert lines[place + 4] == "| Dataset | N | Model | 1/4 | 1/2 | end |"
    assert lines[place + 6] == "| Disks | 10 | mine | 11.00 | 12.00 | 13.00 |", "the candidate first"
    assert lines[place + 7] == "| Disks | 10 | DiT | – | 14.00 | 15.00 |", "by share of its own steps"
    bare = compare(dataclasses.replace(evidence, new=evidence.new, old=old))
    assert "## Along training" not in pages.page(bare, *pages.tables(bare))


def test_a_gap_near_zero_is_not_judged(suite, monkeypatch, tmp_path):
    for name, run in suite.runs.items():
        finish(suite, name, gap=0.01 if run.model.name == "unet-t16" else 1.0)
    found = compare(gather(compared(suite, monkeypatch, tmp_path)))
    words = found.cells[found.cells["metric"] == GAP].groupby("baseline")["verdict"].unique()
    assert words["unet-t16"] == ["not judged"] and words["dit-t16"] == ["better"]


def test_one_shuffle_has_an_interval_over_images_and_no_verdict(suite, monkeypatch, tmp_path):
    with_candidate = compared(suite, monkeypatch, tmp_path)
    for name in [n for n in with_candidate.runs if n.endswith(("s1", "s2"))]:
        if ".mine." in name:
            del with_candidate.runs[name]
    cells = compare(gather(with_candidate)).cells
    assert set(cells["verdict"]) == {"too few shuffles"} and cells["low"].isna().all()
    tests = cells[cells["metric"] == TEST]
    assert (tests["image_low"] <= tests["difference"] + 1e-9).all()
    assert "too few shuffles" in pages.write(with_candidate).with_suffix(".md").read_text()


def test_notes_on_what_is_not_matched(suite, monkeypatch, tmp_path):
    found = compare(gather(compared(suite, monkeypatch, tmp_path, training={"steps": 50})))
    assert "Not matched with dit-t16: mine has 0.5 times the training images." in found.notes


def test_a_smaller_gap_is_no_merit_where_test_psnr_may_be_lower(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    for name in candidate_runs(found):
        finish(found, name, 0.1, test=19.85 + 0.15 * (found.run(name).shuffle - 1))  # not shown to be worse
    comparison = compare(gather(found))
    assert set(comparison.pooled.loc[comparison.pooled["metric"] == GAP, "verdict"]) == {UNPROVEN}
    assert set(comparison.pooled.loc[comparison.pooled["metric"] == TEST, "verdict"]) == {
        "no difference shown"
    }
    assert f"- PSNR gap (dB) against UNet: **{UNPROVEN}**, −9" in "\n".join(pages.summary(comparison))


@pytest.mark.parametrize("word", ["not fitted", "still learning"])
def test_what_is_not_fitted_or_still_learning_stands_on_no_better_side(suite, monkeypatch, tmp_path, word):
    evidence = gather(compared(suite, monkeypatch, tmp_path))
    mine = dataclasses.replace(evidence, words={("disks-8", "mine", 10): Word(word, "so")})
    found = compare(mine)
    gaps = found.cells[found.cells["metric"] == GAP].set_index(["baseline", "train_size"])["verdict"]
    assert gaps["unet-t16", 10] == f"not ranked: {word}" and gaps["unet-t16", 100] == "better"
    assert f"- Disks, N = 10: **{word}** (so)" in pages.page(found, *pages.tables(found))
    theirs = dataclasses.replace(evidence, words={("disks-8", "unet-t16", 10): Word(word, "so")})
    gaps = compare(theirs).cells.query(f"metric == '{GAP}'").set_index(["baseline", "train_size"])["verdict"]
    assert gaps["unet-t16", 10] == "better"  # that side is the candidate's
    assert "left out: the better side is not fitted" in drawn(found)


def drawn(found) -> str:
    return draw(found).get_supxlabel()


def test_the_picture_says_who_is_compared_and_which_interval_is_drawn(suite, monkeypatch, tmp_path):
    figure = draw(compare(gather(compared(suite, monkeypatch, tmp_path))))
    assert figure.get_suptitle() == "mine minus each baseline, 95 % moderated t interval over shuffles"
    assert figure.get_supxlabel() == "filled: decided after correction"
    assert [ax.get_xlabel() for ax in figure.axes[:3]] == ["better →", "← better", "← lower"]


def test_a_stale_baseline_is_shown_as_stale(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    make_stale("disks-8.unet-t16.n10.s1", "psnr")
    comparison = compare(gather(found))
    stale = comparison.cells[comparison.cells["stale"] != ""]
    assert len(stale) == 2 and set(stale["metric"]) == {GAP, TEST}
    assert set(stale["baseline"]) == {"unet-t16"} and set(stale["train_size"]) == {10}
    assert comparison.notes[0].startswith("† 2 of 24 cells use a baseline that is out of date")
    text = pages.write(found).with_suffix(".md").read_text()
    assert "| Disks | UNet † | 10 | PSNR gap (dB)" in text
    assert "- PSNR gap (dB) against UNet †: **better**, −74.1 % [" in text


def make_stale(run: str, *metrics: str) -> None:
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    for metric in metrics:
        record["runs"][run]["metrics"][metric]["code"]["train"] = "older"
    file.write_text(json.dumps(record))


def test_a_figure_from_a_stale_baseline_says_so(suite, tmp_path, capsys):
    baselines.promote(suite)
    shutil.rmtree(paths.suite_folder("grid"))
    context, measures = Context("grid", "fig2"), ITEMS["fig2"].measures
    assert context.from_baseline and context.stale(measures) == ""
    make_stale("disks-8.unet-t16.n10.s1", "psnr", "cost")  # cost is not shown in fig2
    assert "STALE: 1 of 12 stored measurements" in context.stale(measures)
    assert main(["claims", "--suite", "grid"]) == 0
    assert "STALE: 2 of 72 stored measurements" in capsys.readouterr().err
    (paths.baselines_folder("grid") / "provenance.json").unlink()
    assert "is unknown: Suite 'grid' has no stored baselines" in context.stale(measures)


def test_command_writes_tables_and_figure(suite, monkeypatch, tmp_path, capsys):
    compared(suite, monkeypatch, tmp_path)
    assert main(["compare", "--suite", "grid"]) == 0
    text = capsys.readouterr().out
    assert "Over all datasets and N together: 3 (dataset, shuffle) pairs." in text
    assert "| Disks | UNet | 10 | PSNR gap (dB) | 0.52 | 2.01 | −74.1 % \\[" in text
    assert "; of 2 cells better in 2." in text and "## Cost and budget" in text
    for name in ("mine.csv", "mine.md", "mine.tex"):
        assert (tmp_path / "results/grid/compare" / name).stat().st_size > 0
    assert (tmp_path / "figures/grid/compare-mine.pdf").exists()


def test_a_candidate_that_is_not_measured_is_told_how_long_it_takes(suite, monkeypatch, tmp_path, capsys):
    compared(suite, monkeypatch, tmp_path)
    paths.measured_files("grid", "disks-8.mine.n10.s0")[0].unlink()
    assert main(["compare", "--suite", "grid"]) == 1
    said = capsys.readouterr().err
    assert "1 of 6 runs of mine are not measured, the first: disks-8.mine.n10.s0." in said
    assert (
        "6 runs; as many took" in said
        and "minutes for the stored networks, one after the other, on a cpu" in said
    )


def test_other_data_and_other_protocol_are_refused(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    for name in candidate_runs(found):
        finish(found, name, 1.0, data="e" * 64)
    with pytest.raises(BenchError, match="another version of disks-8"):
        gather(found)


@pytest.mark.parametrize(
    ("text", "model", "message"),
    [
        ("x = 1", "my_model.py", "registers no model"),
        (MODEL, "my_model.py:mien", "no model 'mien' (did you mean 'mine'?)"),
        (MODEL + MODEL, "my_model.py", "'mine' twice"),
        ("def (", "my_model.py", "cannot be read as Python"),
        (MODEL, "absent.py", "no model file absent.py"),
        (MODEL, "dit-t61", "no model preset 'dit-t61'"),
        (MODEL, "dit-t16", "a model 'dit-t16' already"),
        (MODEL, '{"model": "my_model.py", "steps": 3}', "unknown key 'steps'"),
        (MODEL, '{"model": "my_model.py", "training": {"stepz": 3}}', "stepz"),
    ],
)
def test_bad_candidates(suite, monkeypatch, tmp_path, text, model, message):
    (tmp_path / "my_model.py").write_text(text)
    monkeypatch.setenv("BENCH_MODEL", model)
    with pytest.raises(BenchError) as error:
        plan.load("grid")
    assert message in str(error.value)


def test_no_candidate_and_no_baselines(suite, monkeypatch, tmp_path, capsys):
    assert main(["compare", "--suite", "grid"]) == 1
    assert "--config model=" in capsys.readouterr().err
    candidate(monkeypatch, tmp_path)
    assert main(["compare", "--suite", "grid"]) == 1
    assert "no stored baselines" in capsys.readouterr().err


def test_comparing_never_imports_torch(suite, monkeypatch, tmp_path):
    compared(suite, monkeypatch, tmp_path)
    code = "import sys; from bench.cli import main; main(['compare', '--suite', 'grid']); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True).returncode == 0
