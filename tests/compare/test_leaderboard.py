"""The leaderboard: ranks, intervals, stale marks, and the committed page in step with the stored baselines."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from stored import finish

from bench.cli import main
from bench.compare import leaderboard
from bench.results import baselines
from bench.results.measures import measures
from bench.results.training_state import Word
from bench.support import paths

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("file", ["results/baselines/LEADERBOARD.md", "docs/leaderboard.md"])
def test_the_committed_page_is_in_step(monkeypatch, as_stored, file):
    monkeypatch.chdir(as_stored)
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    assert (ROOT / file).read_text() == leaderboard.page(), "run `bench leaderboard` and commit both pages"


def rows_of(measure: str) -> list[str]:
    """Return the rows of one measure's table of the page."""
    table = leaderboard.page().split(f"### {measure}")[1].split("###")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][2:]


def finish_all(suite, **unet) -> None:
    """Finish every run, the gap of the UNet 1 dB above that of the DiT."""
    for name, run in suite.runs.items():
        mine = unet if run.model.name == "unet-t16" else {}
        finish(suite, name, 1.0 + 0.1 * run.shuffle + (run.model.name == "unet-t16"), **{"test": 19.5} | mine)
    baselines.promote(suite)


def test_ranks_intervals_and_test_psnr_beside_the_gap(suite, capsys):
    finish_all(suite)
    Path("docs").mkdir()
    assert main(["leaderboard"]) == 0
    text = Path("results/baselines/LEADERBOARD.md").read_text()
    assert Path("docs/leaderboard.md").read_text() == text
    assert "## grid: A grid to compare on" in text and "none out of date" in text
    rows = rows_of("PSNR gap (dB) ↓, test PSNR in brackets")
    assert rows[0].startswith("| **DiT (`dit-t16`)** | 1 | 1.1 ± 0.25 (19.50) |")
    assert rows[1].startswith("| UNet (`unet-t16`) | 2 | 2.1 ± 0.25 (19.50) |")
    assert all(row.split("|")[2] == " 1–2 " for row in rows_of("Test PSNR"))
    assert "| DiT (`dit-t16`) | 0.001 | 0.01 | 100 | 4 | 0.0001 |" in text


def test_a_smaller_gap_ranks_higher_only_where_test_psnr_holds(suite):
    finish_all(suite, test=19.8)  # the DiT's smaller gap comes with 0.3 dB less
    assert [row.split("|")[2] for row in rows_of("PSNR gap")] == [" 1–2 ", " 1–2 "]
    assert rows_of("Test PSNR")[0].startswith("| **UNet (`unet-t16`)** | 1 |")


def test_controls_are_not_ranked_and_rows_out_of_date_are_marked(suite):
    for name in suite.runs:
        if ".dit-t16." in name:
            file = paths.measured_files("grid", name)[0]
            file.write_text(file.read_text().replace("1000.0", "0.0"))
    baselines.promote(suite)
    file = paths.baselines_folder("grid") / "provenance.json"
    record = json.loads(file.read_text())
    record["runs"]["disks-8.unet-t16.n10.s1"]["metrics"]["psnr"]["code"]["train"] = "older"
    file.write_text(json.dumps(record))
    rows = rows_of("PSNR gap")
    assert rows[0].startswith("| UNet (`unet-t16`) | – | 2.01 ± 0.025 † (20.00) | 2.01 ± 0.025 (20.00) |")
    assert rows[1].startswith("| *DiT* (`dit-t16`) | – | 1.01 ± 0.025 (20.00)")
    Path("config/suites/grid.yaml").unlink()
    assert "72 measurements, 72 out of date" in leaderboard.page()


@pytest.mark.parametrize("word", ["not fitted", "still learning"])
def test_what_is_not_fitted_or_still_learning_is_not_ranked(suite, monkeypatch, word):
    finish_all(suite)
    words = {("disks-8", "dit-t16", 10): Word(word, ""), ("disks-8", "unet-t16", 10): Word("settled", "")}
    monkeypatch.setattr(leaderboard._Board, "words", words)
    rows = rows_of("PSNR gap")
    assert rows[0].startswith("| UNet (`unet-t16`) | – |")
    assert rows[1].startswith(f"| DiT (`dit-t16`) | {word} |")


def test_the_ranked_cells_are_the_largest_table_without_holes(suite):
    left = [run for run in suite.runs if ".n100." in run and ".unet-t16." in run]
    for run in left:
        paths.measured_files("grid", run)[0].unlink()
    assert baselines.promote(suite) == left
    rows = rows_of("Fréchet distance")
    assert rows[0].startswith("| **DiT (`dit-t16`)** | 1 | 4.01 ± 0.025 | 4.01")
    assert rows[1].startswith("| UNet (`unet-t16`) | 2 | 5.01 ± 0.025 | – |")


def test_one_shuffle_gives_no_rank(suite):
    for name in [n for n in suite.runs if not n.endswith("s0")]:
        del suite.runs[name]
    baselines.promote(suite)
    assert rows_of("PSNR gap")[0].startswith("| DiT (`dit-t16`) | – | 1 (20.00) |")


def test_a_mean_over_other_noise_levels_says_so():
    protocols = {"psnr_mean": "images=4;steps=50;clip=true", "best_psnr_mean": "images=4;steps=10;clip=true"}
    rows = [
        {"metric": m, "split": "test", "recipe": "", "index_name": "", "protocol": p}
        for m, p in protocols.items()
    ]
    names = [measure.name for measure in measures(pd.DataFrame(rows))]
    assert names == ["test PSNR (dB)", "test PSNR of the best checkpoint, 10 noise levels (dB)"]
