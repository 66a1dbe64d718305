"""The leaderboard: ranks, intervals, stale marks, and the committed page in step with the stored baselines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored import finish

from bench.cli import main
from bench.compare import leaderboard
from bench.results import baselines
from bench.support import paths

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("file", ["results/baselines/LEADERBOARD.md", "docs/leaderboard.md"])
def test_the_committed_page_is_in_step(monkeypatch, file):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    assert Path(file).read_text() == leaderboard.page(), "run `bench leaderboard` and commit both pages"


def test_ranks_intervals_and_test_psnr_beside_the_gap(suite, capsys):
    for name in suite.runs:
        finish(suite, name, 1.0 + 0.1 * suite.run(name).shuffle + (".unet-t16." in name), 19.5)
    baselines.promote(suite)
    Path("docs").mkdir()
    assert main(["leaderboard"]) == 0
    text = Path("results/baselines/LEADERBOARD.md").read_text()
    assert Path("docs/leaderboard.md").read_text() == text
    assert "## grid: A grid to compare on" in text and "none stale" in text
    gap = text.split("### PSNR gap (dB) ↓, test PSNR in brackets")[1].split("###")[0]
    rows = [line for line in gap.splitlines() if line.startswith("| ")][2:]
    assert rows[0].startswith("| DiT (`dit-t16`) | **1.1** ± 0.25 (19.50) |")
    assert rows[1].startswith("| UNet (`unet-t16`) | 2.1 ± 0.25 (19.50) |")
    assert "| DiT (`dit-t16`) | 0.001 | 0.01 | 100 × 4 | 0.0001 |" in text


def test_controls_are_not_ranked_and_stale_rows_are_marked(suite):
    for name in suite.runs:
        if ".dit-t16." in name:
            file = paths.measured_files("grid", name)[0]
            file.write_text(file.read_text().replace("1000.0", "0.0"))
    baselines.promote(suite)
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    record["runs"]["disks-8.unet-t16.n10.s1"]["metrics"]["psnr"]["code"]["train"] = "older"
    file.write_text(json.dumps(record))
    gap = leaderboard.page().split("### PSNR gap")[1].split("###")[0]
    rows = [line for line in gap.splitlines() if line.startswith("| ")][2:]
    assert rows[0].startswith("| UNet (`unet-t16`) | **2.01** ± 0.025 † (20.00) | **2.01** ± 0.025 (20.00) |")
    assert rows[1].startswith("| *DiT* (`dit-t16`) | 1.01 ± 0.025 (20.00)")
    Path("config/suites/grid.yaml").unlink()
    assert "72 measurements, 72 stale" in leaderboard.page()


def test_the_gap_of_an_undertrained_network_is_not_ranked(suite, monkeypatch):
    for name in suite.runs:
        finish(suite, name, 1.0 + (".dit-t16." in name), 19.0 if ".unet-t16." in name else 20.0)
        if ".dit-t16." in name:  # stands for the control
            file = paths.measured_files("grid", name)[0]
            file.write_text(file.read_text().replace("1000.0", "0.0"))
    baselines.promote(suite)
    monkeypatch.setattr(leaderboard, "LINEAR", "dit-t16")
    page = leaderboard.page()
    gap = page.split("### PSNR gap")[1].split("###")[0]
    assert "| UNet (`unet-t16`) | 1 ± 0 (19.00) ‡ |" in gap and "**" not in gap
    assert "| UNet (`unet-t16`) | **19.00** ± 0 |" in page.split("### Test PSNR")[1].split("###")[0]


def test_one_shuffle_has_an_interval_over_images(suite):
    for name in [n for n in suite.runs if not n.endswith("s0")]:
        del suite.runs[name]
    baselines.promote(suite)
    page = leaderboard.page()
    assert "(i) (20.00)" in page.split("### PSNR gap")[1].split("###")[0]
    assert "(i)" not in page.split("### Fréchet distance")[1].split("###")[0]
