"""A candidate against stored baselines: pairing, verdicts, notes, and bad input in one sentence."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pytest
from stored import MODEL, candidate, finish

from bench.cli import main
from bench.compare import pages
from bench.compare.compare import candidate_runs, compare
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.staleness import stale_note
from bench.results import baselines
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


def test_paired_differences_and_verdicts(suite, monkeypatch, tmp_path):
    table, notes = compare(compared(suite, monkeypatch, tmp_path))
    cell = table[(table["baseline"] == "unet-t16") & (table["train_size"] == 10)].set_index("metric")
    gap = cell.loc["psnr_gap"]
    assert gap["difference"] == pytest.approx(-1.5 + 0.01)
    assert gap["low"] < -1.49 < gap["high"] < 0 and gap["image_low"] < -1.48 and gap["image_high"] < 0
    assert gap["verdict"] == "better" and gap["count"] == 3
    assert cell.loc["test_psnr", "verdict"] == "no difference shown"
    assert math.isnan(cell.loc["frechet", "image_low"]) and cell.loc["frechet", "verdict"] == "better"
    # the features' share ties, the pixels' differs; they are never averaged
    assert cell.loc["copies_pixels", "difference"] == pytest.approx(-0.149)
    assert cell.loc["copies_features", "verdict"] == "no difference shown"
    assert cell.loc["locality", "verdict"] == "more local"
    assert len(table) == 2 * 2 * 6 and notes == [] and set(table["stale"]) == {""}


def test_one_shuffle_has_an_interval_over_images_and_no_verdict(suite, monkeypatch, tmp_path):
    with_candidate = compared(suite, monkeypatch, tmp_path)
    for name in [n for n in with_candidate.runs if n.endswith(("s1", "s2"))]:
        if ".mine." in name:
            del with_candidate.runs[name]
    table, _ = compare(with_candidate)
    gaps = table[table["metric"] == "psnr_gap"]
    assert set(gaps["verdict"]) == {"too few shuffles"} and gaps["low"].isna().all()
    assert (gaps["image_low"] <= gaps["difference"] + 1e-9).all()


def test_notes_on_what_is_not_matched(suite, monkeypatch, tmp_path):
    _, notes = compare(compared(suite, monkeypatch, tmp_path, training={"steps": 50}))
    assert "Not matched with dit-t16: mine has 0.5 times the training images." in notes


def test_a_smaller_gap_of_an_underfitted_network_is_no_merit(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    for name in candidate_runs(found):
        finish(found, name, 0.1, test=15.0 + 0.01 * found.run(name).shuffle)
    table, _ = compare(found)
    assert pages.underfitted(table) == {"dit-t16": 2, "unet-t16": 2}
    assert "- **A smaller gap is no merit** against UNet in 2 cells" in "\n".join(pages.summary(found, table))


def test_a_stale_baseline_is_shown_as_stale(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    record["runs"]["disks-8.unet-t16.n10.s1"]["metrics"]["psnr"]["code"]["train"] = "older"
    file.write_text(json.dumps(record))
    table, notes = compare(found)
    stale = table[table["stale"] != ""]
    assert len(stale) == 2 and set(stale["metric"]) == {"psnr_gap", "test_psnr"}
    assert set(stale["baseline"]) == {"unet-t16"} and set(stale["train_size"]) == {10}
    assert notes[0].startswith("† 2 of 24 cells meet a stale baseline")
    text = pages.write(found).with_suffix(".md").read_text()
    assert "| Disks | UNet † | 10 | PSNR gap (dB)" in text
    assert "- PSNR gap (dB) against UNet (stale baseline †): better in 2 of 2 cells." in text


def test_a_figure_from_a_stale_baseline_says_so(suite, tmp_path, capsys):
    baselines.promote(suite)
    shutil.rmtree(paths.suite_folder("grid"))
    context, item = Context("grid", "fig2"), ITEMS["fig2"]
    assert context.from_baseline and stale_note(context, item) == ""
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    record["runs"]["disks-8.unet-t16.n10.s1"]["metrics"]["psnr"]["code"]["train"] = "older"
    record["runs"]["disks-8.unet-t16.n10.s1"]["metrics"]["cost"]["code"]["train"] = (
        "older"  # not shown in fig2
    )
    file.write_text(json.dumps(record))
    assert "STALE: 1 of 12 stored measurements" in stale_note(context, item)
    assert main(["claims", "--suite", "grid"]) == 0
    assert "STALE: 2 of 60 stored measurements" in capsys.readouterr().err
    file.unlink()
    assert "cannot be said: Suite 'grid' has no stored baselines" in stale_note(context, item)


def test_command_writes_tables_and_figure(suite, monkeypatch, tmp_path, capsys):
    compared(suite, monkeypatch, tmp_path)
    assert main(["compare", "--suite", "grid"]) == 0
    text = capsys.readouterr().out
    assert "| Disks | UNet | 10 | PSNR gap (dB) | 0.52 | 2.01 | −1.49 |" in text
    assert "- PSNR gap (dB) against UNet: better in 2 of 2 cells." in text and "## Cost and budget" in text
    for name in ("mine.csv", "mine.md", "mine.tex"):
        assert (tmp_path / "results/grid/compare" / name).stat().st_size > 0
    assert (tmp_path / "figures/grid/compare-mine.pdf").exists()


def test_other_data_and_other_protocol_are_refused(suite, monkeypatch, tmp_path):
    found = compared(suite, monkeypatch, tmp_path)
    for name in candidate_runs(found):
        finish(found, name, 1.0, data="e" * 64)
    with pytest.raises(BenchError, match="another version of disks-8"):
        compare(found)


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
