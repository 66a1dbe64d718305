"""Two more papers: their items from synthetic measurements, their printed numbers and claims, and suites without data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.report import claims, literature
from bench.results.tidy import read_tidy
from bench.support import paths

ITEMS = {
    "kamb2025-small": ["figA16", "figA17", "figA18", "figA19"],
    "kadkhodaie2024-small": ["figA8", "figA9", "figA20"],
}
LACKING = {
    "kamb2025-small": {
        "figA16": "agreement_correlation",
        "figA18": "patch_size",
        "tabA8": "agreement_sample_correlation",
    },
    "kadkhodaie2024-small": {"figA20": "jacobian_eigenvalue", "tabA9": "psnr_slope"},
}


@pytest.fixture(scope="module", autouse=True)
def inside(tmp_path_factory):
    """A folder with synthetic measurements of both suites."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("papers"))
        for suite in ITEMS:
            make(suite)
        yield


def rows(suite, **where):
    table = read_tidy(paths.tidy_file(suite))
    for key, value in where.items():
        table = table[table[key] == value]
    return table


@pytest.mark.parametrize(("suite", "item"), [(s, i) for s, items in ITEMS.items() for i in items])
def test_figures_are_drawn_and_say_what_to_see(suite, item):
    assert main(["figure", item, "--suite", suite]) == 0
    record = json.loads((paths.figures_folder(suite) / f"{item}.json").read_text())
    assert record["item"] == f"Figure {item[3:]}" and len(record["caption"]) > 150


def test_the_table_of_correlations_has_r2_beside_and_the_papers_numbers():
    assert main(["table", "tabA8", "--suite", "kamb2025-small"]) == 0
    numbers = pd.read_csv(paths.tables_folder("kamb2025-small") / "tabA8.csv")
    where = {"dataset": "cifar10-16-grey", "model": "nf-unet-t16", "train_size": 100}
    one = numbers[np.logical_and.reduce([numbers[key] == value for key, value in where.items()])]
    for metric, column in (("correlation", "correlation"), ("r2", "r2")):
        wanted = rows("kamb2025-small", metric=f"agreement_sample_{metric}", split="local", **where)[
            "value"
        ].mean()
        assert one[f"local_{column}"].item() == pytest.approx(wanted)
    text = (paths.tables_folder("kamb2025-small") / "tabA8.md").read_text()
    assert (
        "NF-UNet on CIFAR-10 0.90 / 0.87 / 0.41" in text
        and "NF-ResNet, circular on CIFAR-10 0.94 / 0.83 / 0.35" in text
    )


def test_the_table_of_slopes_has_the_papers_where_the_smoothness_is_the_same():
    assert main(["table", "tabA9", "--suite", "kadkhodaie2024-small"]) == 0
    numbers = pd.read_csv(paths.tables_folder("kadkhodaie2024-small") / "tabA9.csv").set_index(
        ["dataset", "model"]
    )
    assert numbers.loc[("contours-16-alpha1", "bf-unet-t16-cosine"), "in the paper"].item() == 0.46
    assert numbers.loc[("contours-16", "bf-unet-t16-cosine"), "in the paper"].isna().all()
    assert np.allclose(numbers["difference"], numbers["slope"] - numbers["optimum"])


def test_printed_numbers_decide_the_claims_of_the_paper():
    own = {key: one for key, one in claims.load().items() if one.paper == "kamb2025"}
    found = {key: claims.in_print(one, literature.numbers()).word for key, one in own.items()}
    assert found["kamb-local-beats-ideal"] == found["kamb-equivariance-matters"] == claims.HOLDS
    assert found["kamb-attention-farther"] == found["kamb-patch-grows"] == claims.HOLDS
    assert len(own) == 6 and claims.NOT_RUN not in found.values()


@pytest.mark.parametrize(("suite", "item"), [(s, i) for s, items in LACKING.items() for i in items])
def test_what_a_suite_lacks_is_named_with_the_command(suite, item, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make(suite, arrays=False)
    table = read_tidy(paths.tidy_file(suite))
    table[table["metric"].str.startswith("psnr_mean")].to_csv(paths.tidy_file(suite), index=False)
    assert main(["table" if item.startswith("tab") else "figure", item, "--suite", suite]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and LACKING[suite][item] in error and f"suite={suite}" in error


def test_a_suite_without_its_data_says_what_to_put_where(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    assert main(["data", "build", "cifar10-32"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cifar10-train.npy does not exist: put the 20000 images" in error
