"""The items of the whole paper suite, from synthetic measurements: numbers, printed numbers, pairing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.report.items import ITEMS
from bench.report.papers.an2024.fig5 import mask
from bench.support import paths

SUITE = "paper"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The synthetic measurements of the paper suite."""
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(SUITE, arrays=False)
    return folder


@pytest.fixture(autouse=True)
def inside(place, monkeypatch):
    monkeypatch.chdir(place)


def table(name: str) -> pd.DataFrame:
    assert main(["table", name, "--suite", SUITE]) == 0
    return pd.read_csv(paths.tables_folder(SUITE) / f"{name}.csv")


@pytest.mark.parametrize("item", ["fig2", "fig5", "fig6", "fig7", "fig8"])
def test_the_same_bytes_in_two_processes(item):
    """Different hash seeds, so that no set order reaches the file."""
    folder, contents = paths.figures_folder(SUITE), []
    for seed in ("1", "2"):
        code = f"from bench.cli import main; import sys; sys.exit(main(['figure', '{item}', '--suite', '{SUITE}']))"
        environment = {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": ":".join(sys.path),
            "MPLCONFIGDIR": "/nonexistent",
        }
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
        contents.append([(folder / f"{item}.{form}").read_bytes() for form in ("pdf", "png", "json")])
    assert contents[0] == contents[1]
    assert b"/FontFile2" in contents[0][0] and b"/Type3" not in contents[0][0]


def test_table_2_bolds_the_lowest_of_each_group():
    numbers = table("tab2")
    text = (paths.tables_folder(SUITE) / "tab2.md").read_text()
    cell = numbers[(numbers["dataset"] == "celeba") & (numbers["train_size"] == 10_000)]
    for windows, group in cell.dropna(subset="windows").groupby("windows"):
        best = group.loc[group["fid"].idxmin()]
        assert re.search(
            rf"\| w/ {re.escape(windows.replace('*', chr(92) + '*'))} \({best['placement']}\) \| \*\*{best['fid']:.4f}\*\*",
            text,
        )
    assert len(cell) == 8  # the eighth is the UNet
    assert "| in the paper | 7.2307 | 3.0991 | 29.2520 | 23.7896 |" in text


def test_table_3_has_the_three_comparisons_and_the_papers_signs():
    numbers = table("tab3")
    assert set(numbers["windows"].dropna()) == {"same size", "smaller", "larger"}
    assert numbers["windows"].notna().sum() == 12
    assert set(numbers.loc[numbers["windows"].isna(), "first"]) == {"unet-an2024"}
    text = (paths.tables_folder(SUITE) / "tab3.md").read_text()
    for printed in ("−0.64%", "−7.79%", "−18.63%"):  # the paper's print lacks these minus signs
        assert printed in text


def test_a_pair_is_compared_at_the_shuffles_that_both_have():
    """The baseline on CelebA has three shuffles, its variant one."""
    tidy = pd.read_csv(paths.tidy_file(SUITE), keep_default_na=False)
    same = (
        (tidy["dataset"] == "celeba")
        & (tidy["train_size"] == 10_000)
        & (tidy["recipe"] == "")
        & (tidy["metric"] == "fid")
    )
    expected = tidy[same & (tidy["model"] == "dit-xs1") & (tidy["shuffle"] == 0)]["value"].iloc[0]
    numbers = table("tab1")
    keep = (
        (numbers["dataset"] == "celeba") & (numbers["first"] == "dit-xs1") & (numbers["train_size"] == 10_000)
    )
    row = numbers[keep & numbers["recipe"].isna()].iloc[0]
    assert row["fid_first"] == pytest.approx(expected, rel=1e-12)
    assert row["printed_first"] == 9.6932


def test_the_dagger_rows_stand_apart():
    table("tab1")
    text = (paths.tables_folder(SUITE) / "tab1.md").read_text()
    assert "| CelebA | DiT-XS/1† → w/ Local | 10,000 |" in text and "10.5432 → 8.4258" in text


def test_captions_show_the_gap_with_the_test_psnr():
    for item in ("fig2", "fig6", "fig7", "fig8"):
        main(["figure", item, "--suite", SUITE])
        caption = json.loads((paths.figures_folder(SUITE) / f"{item}.json").read_text())["caption"]
        assert "test PSNR" in caption, item
        assert "shuffle" in caption, item


def test_figure_5_draws_the_mask_of_the_networks():
    torch = pytest.importorskip("torch")
    from bench.models.attention import window_mask

    for side, window in ((4, 3), (5, 5), (6, 7)):
        assert np.array_equal(
            mask(side, window), window_mask((side, side), window, 0, torch.device("cpu")).numpy()
        )
    assert mask(4, 3)[0].sum() == 4  # clipped at the border: a corner attends to four
    assert mask(4, None).all()


def test_a_suite_without_placements_says_which_models_it_needs(capsys):
    plan = json.loads(paths.plan_file(SUITE).read_text())
    plan["items"]["fig7"]["models"] = ["dit-xs1", "dit-xs1-local"]
    kept = paths.plan_file(SUITE).read_text()
    try:
        paths.plan_file(SUITE).write_text(json.dumps(plan))
        assert main(["figure", "fig7", "--suite", SUITE]) == 1
        assert "two placements or more" in capsys.readouterr().err
    finally:
        paths.plan_file(SUITE).write_text(kept)


def test_every_item_of_the_paper_is_known():
    own = [name for name, item in ITEMS.items() if item.paper == "an2024"]
    assert own == [*(f"fig{i}" for i in range(1, 9)), "figA6", *(f"tab{i}" for i in range(1, 4))]
